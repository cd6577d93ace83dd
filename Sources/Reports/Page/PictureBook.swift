import Evaluation
import Foundation
import Media
import Sweeps

/// Which pictures a page shows.
public struct PictureOptions: Sendable, Hashable {
  /// Prompts shown, the first ones, each with its first seed.
  public var prompts: Int
  /// What pictures may take in the page, in bytes of its text.
  public var bytes: Int

  public init(prompts: Int = 4, bytes: Int = 17 << 20) { (self.prompts, self.bytes) = (prompts, bytes) }
}

/// A sweep's pictures, read, made small enough and encoded for a page.
struct PictureBook: Sendable {
  /// The frames of a picture or clip below each other in one PNG.
  struct Film: Sendable {
    var uri: String, width: Int, height: Int, frames: Int
  }

  struct Entry: Sendable {
    /// Among the summaries.
    var variant: Int
    var cell: CellResult
    var film: Film
    /// From the reference; `nil` for the reference itself.
    var difference: Film?

    /// In the page's text.
    var bytes: Int { film.uri.utf8.count + (difference?.uri.utf8.count ?? 0) }
  }

  /// One prompt and seed.
  struct Exhibit: Sendable {
    var prompt: String, seed: UInt64
    /// A reference, then what is compared with it.
    var groups: [[Entry]]
    /// Numbers of the frames that are shown.
    var frames: [Int]
  }

  /// How much is shown: what a page has room for.
  struct Level: Sendable, Hashable {
    /// Pixels of the longer side.
    var side: Int
    var frames: Int, prompts: Int, variants: Int
  }

  private(set) var exhibits: [Exhibit] = []
  /// What was left out, for readers.
  private(set) var notes: [String] = []
  /// Brightness of differences, in times.
  static let gain = 4.0

  private let analysis: SweepAnalysis
  private let options: PictureOptions
  private var missing: [String] = []

  init(_ analysis: SweepAnalysis, _ options: PictureOptions) throws {
    (self.analysis, self.options) = (analysis, options)
    let plan = chosen
    guard !plan.isEmpty else { return }
    let cells = plan.flatMap { $0.groups.flatMap { $0 } }
    let full = Level(
      side: cells.map { max($0.cell.width, $0.cell.height) }.max() ?? 1,
      frames: cells.map(\.cell.pictures.count).max() ?? 1,
      prompts: plan.count, variants: analysis.measured.count)
    let levels = Self.levels(below: full)
    for level in levels {
      missing = []
      if let exhibits = try draw(plan, level, mustFit: level != levels.last) {
        self.exhibits = exhibits.filter { !$0.groups.isEmpty }
        notes = Self.notes(level, full) + missingNote
        return
      }
    }
  }

  /// From everything in full down to little.
  private static func levels(below full: Level) -> [Level] {
    let steps = [
      full, Level(side: 512, frames: 33, prompts: .max, variants: .max),
      Level(side: 384, frames: 17, prompts: .max, variants: .max),
      Level(side: 256, frames: 17, prompts: .max, variants: .max),
      Level(side: 256, frames: 9, prompts: .max, variants: .max),
      Level(side: 192, frames: 9, prompts: .max, variants: .max),
      Level(side: 160, frames: 5, prompts: .max, variants: .max),
      Level(side: 128, frames: 5, prompts: 2, variants: .max),
      Level(side: 128, frames: 5, prompts: 1, variants: .max), Level(side: 96, frames: 3, prompts: 1, variants: 12),
      Level(side: 64, frames: 1, prompts: 1, variants: 6),
    ]
    return steps.map { step in
      Level(
        side: min(step.side, full.side), frames: min(step.frames, full.frames),
        prompts: min(step.prompts, full.prompts),
        variants: min(step.variants, full.variants))
    }.uniqued()
  }

  private static func notes(_ level: Level, _ full: Level) -> [String] {
    var parts: [String] = []
    if level.side < full.side {
      parts.append("pictures at most \(level.side) pixels wide and high instead of \(full.side)")
    }
    if level.frames < full.frames { parts.append("\(level.frames) of \(full.frames) frames") }
    if level.prompts < full.prompts { parts.append("\(level.prompts) of \(full.prompts) prompts") }
    if level.variants < full.variants { parts.append("\(level.variants) of \(full.variants) variants") }
    return parts.isEmpty
      ? [] : ["To keep this page small it shows \(NumberText.list(parts)); the sweep's folder has all."]
  }

  private var missingNote: [String] {
    guard let first = missing.first else { return [] }
    return [
      "Pictures of \(NumberText.count(missing.count, "cell")) could not be read and are left out, the first: \(first)."
    ]
  }

  // MARK: Choice

  private struct Choice {
    var prompt: String, seed: UInt64
    var groups: [[(variant: Int, cell: CellResult)]]
  }

  /// The first prompts, with the first seed that has a reference.
  private var chosen: [Choice] {
    let places = Dictionary(
      uniqueKeysWithValues: analysis.variants.enumerated().map { ($0.element.variant, $0.offset) })
    let cells = analysis.results.cells.filter { !$0.pictures.isEmpty }
    return analysis.prompts.lazy.compactMap { prompt -> Choice? in
      let own = cells.filter { $0.prompt == prompt }
      guard let seed = own.filter({ $0.variant.role == .dense }).map(\.seed).min() else { return nil }
      let references = own.filter { $0.variant.role == .dense && $0.seed == seed }
      let groups = references.map { reference in
        let others = own.filter { cell in
          cell.seed == seed && [.method, .baseline].contains(cell.variant.role)
            && analysis.pairing.reference(of: cell)?.folder == reference.folder
        }
        return ([reference] + others).map { (places[$0.variant] ?? 0, $0) }
      }
      return Choice(prompt: prompt, seed: seed, groups: groups)
    }.prefix(max(0, options.prompts)).map { $0 }
  }

  /// As many of a count as asked for, the first and the last among them, evenly.
  private static func spread(_ wanted: Int, of count: Int) -> [Int] {
    guard wanted < count, wanted > 1 else { return Array(0..<min(wanted, count)) }
    return (0..<wanted).map { ($0 * (count - 1) + (wanted - 1) / 2) / (wanted - 1) }
  }

  // MARK: Drawing

  /// `nil` where it takes more than there is room for; else, at the lowest level, what there is room for.
  private mutating func draw(_ plan: [Choice], _ level: Level, mustFit: Bool) throws -> [Exhibit]? {
    var used = 0, result: [Exhibit] = []
    let variants = Set(Self.spread(level.variants, of: analysis.measured.count).map { analysis.measured[$0] })
    for choice in plan.prefix(level.prompts) {
      let count = choice.groups.first?.first?.cell.pictures.count ?? 1
      var exhibit = Exhibit(
        prompt: choice.prompt, seed: choice.seed, groups: [], frames: Self.spread(level.frames, of: count))
      for group in choice.groups {
        guard let first = group.first, let reference = read(first.cell, exhibit.frames) else { continue }
        var entries: [Entry] = []
        for item in group where item.variant == first.variant || variants.contains(item.variant) {
          guard let entry = try entry(item.variant, item.cell, exhibit.frames, reference, level) else { continue }
          used += entry.bytes
          guard used <= options.bytes else {
            if mustFit { return nil }
            break
          }
          entries.append(entry)
        }
        if entries.isEmpty { continue }
        exhibit.groups.append(entries)
      }
      result.append(exhibit)
    }
    return result
  }

  /// `nil` where its pictures cannot be read, or do not fit the reference's.
  private mutating func entry(
    _ variant: Int, _ cell: CellResult, _ numbers: [Int], _ reference: [Frame], _ level: Level
  ) throws -> Entry? {
    if cell.variant.role == .dense {
      return Entry(variant: variant, cell: cell, film: try Self.film(reference, level.side), difference: nil)
    }
    guard let frames = read(cell, numbers) else { return nil }
    guard frames.count == reference.count,
      zip(frames, reference).allSatisfy({ $0.width == $1.width && $0.height == $1.height })
    else {
      missing.append(cell.folder)
      return nil
    }
    let differences = try zip(frames, reference).map {
      try DifferenceImage.absolute($0, reference: $1, gain: Self.gain)
    }
    return Entry(
      variant: variant, cell: cell, film: try Self.film(frames, level.side),
      difference: try Self.film(differences, level.side))
  }

  /// Frames of a cell, by number; `nil`, and a note, where a file is missing or broken.
  private mutating func read(_ cell: CellResult, _ numbers: [Int]) -> [Frame]? {
    let folder = analysis.results.folder.appendingPathComponent(cell.folder)
    do {
      return try numbers.filter { $0 < cell.pictures.count }.map { number in
        let file = folder.appendingPathComponent(cell.pictures[number])
        return try PNGFile.decode(Array(Data(contentsOf: file))).frame
      }
    } catch {
      missing.append(cell.folder)
      return nil
    }
  }

  private static func film(_ frames: [Frame], _ side: Int) throws -> Film {
    let small = frames.map { $0.shrunk(toSide: side) }
    let joined = Frame.joined(small, vertically: true, gap: 0)
    return Film(
      uri: DataURI.png(try PNGFile.encode(joined)), width: small[0].width, height: small[0].height, frames: small.count)
  }
}

extension Frame {
  /// The mean of whole squares of pixels, until the longer side is at most `side`; ragged squares at the right and below.
  func shrunk(toSide side: Int) -> Frame {
    let factor = (max(width, height) + side - 1) / side
    guard factor > 1 else { return self }
    let newWidth = (width + factor - 1) / factor, newHeight = (height + factor - 1) / factor
    var result: [UInt8] = []
    result.reserveCapacity(newWidth * newHeight * 3)
    for y in 0..<newHeight {
      for x in 0..<newWidth {
        let rows = y * factor..<min(height, (y + 1) * factor), columns = x * factor..<min(width, (x + 1) * factor)
        for channel in 0..<3 {
          var sum = 0
          for row in rows { for column in columns { sum += Int(pixels[(row * width + column) * 3 + channel]) } }
          let count = rows.count * columns.count
          result.append(UInt8((sum + count / 2) / count))
        }
      }
    }
    return Frame(width: newWidth, height: newHeight, pixels: result)
  }
}
