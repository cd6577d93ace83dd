import DiffusionPipelines
import Evaluation
import Foundation
import Sweeps

/// Finds the judge of a sweep, and checks that it can tell what prompts promise.
struct AdherencePlan {
  private let spec: SweepSpec
  private let folder: PipelineFolder
  /// The judge's name in a pipeline's folder.
  static let file = "judge.safetensors"

  init(_ spec: SweepSpec, _ folder: PipelineFolder) { (self.spec, self.folder) = (spec, folder) }

  /// `nil` where no prompt says what it promises, or there is no judge; notices say so where something was asked for.
  /// - Parameters:
  ///   - prompts: those of the spec that are run.
  ///   - isClip: whether results have several frames.
  func judge(of prompts: [SweepSpec.Prompt], isClip: Bool, _ notices: inout [String]) throws -> SweepJudge? {
    let promises = prompts.filter { $0.expected != nil }
    guard !promises.isEmpty else {
      if let judge = spec.judge { notices.append("\(judge.written) not used: no prompt has 'expect'") }
      return nil
    }
    guard let path else {
      notices.append("adherence left out: no \(Self.file) in \(folder.path), and no 'judge' in the spec")
      return nil
    }
    let judge = try SweepJudge(file: URL(fileURLWithPath: path))
    let kind: Judge.Kind = isClip ? .clip : .image
    guard judge.judge.kind == kind else {
      throw CommandError.usage(
        "\(path): expected a judge of \(kind.rawValue)s, as the sweep makes, found one of \(judge.judge.kind.rawValue)s"
      )
    }
    for prompt in promises {
      guard let expected = prompt.expected else { continue }
      do {
        try judge.judge.check(expected)
      } catch let error as EvaluationError {
        throw CommandError.usage("\(prompt.place).expect.\(error)")
      }
    }
    return judge
  }

  /// What the spec names, beside it or else in the pipeline's folder; or the folder's own where there is one.
  private var path: String? {
    let own = folder.path + "/"
    guard let judge = spec.judge else {
      return FileManager.default.fileExists(atPath: own + Self.file) ? own + Self.file : nil
    }
    let isBeside = FileManager.default.fileExists(atPath: judge.beside)
    let isInFolder = FileManager.default.fileExists(atPath: own + judge.written)
    return !isBeside && isInFolder ? own + judge.written : judge.beside
  }
}
