import Checkpoints
import Foundation
import Media
import TestSupport
import Testing

@testable import Evaluation

/// Judges against the Python ones of `pipelines/training`; `Fixtures/make_judge_fixtures.py`.
@Suite struct JudgeTests {
  private struct Case: Decodable {
    struct Scored: Decodable { var expected: ExpectedScene, counts: [String: [Int]] }
    var seen: Sighting, scored: [Scored]
  }

  static func file(_ name: String) -> URL {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures/\(name).safetensors")
  }

  /// Frames of a picture `[3, H, W]` or a clip `[F, 3, H, W]`.
  private static func frames(_ shape: [Int], _ values: [Int]) -> [Frame] {
    let height = shape[shape.count - 2], width = shape[shape.count - 1], area = height * width
    return (0..<values.count / (3 * area)).map { frame in
      let pixels = (0..<area * 3).map { UInt8(values[frame * 3 * area + $0 % 3 * area + $0 / 3]) }
      return Frame(width: width, height: height, pixels: pixels)
    }
  }

  @Test(arguments: [Judge.Kind.image, .clip]) func equalsReferenceImplementation(kind: Judge.Kind) throws {
    let judge = try Judge(file: Self.file("judge_\(kind.rawValue)"))
    #expect(judge.kind == kind)
    let fixture = try Fixture("judge_\(kind.rawValue)_golden")
    let cases = try fixture.configuration([Case].self, key: "cases")
    #expect(cases.count >= 3)
    for (number, expected) in cases.enumerated() {
      let input = "input.\(number)"
      let frames = Self.frames(fixture.tensor(input).shape, fixture.integers(input))
      let (map, scene) = try judge.logits(frames)
      let wanted = fixture.tensor("output.\(number).map")
      #expect(Array(map.shape.dropFirst()) == wanted.shape)
      for (a, b) in zip(map.elements + scene, wanted.elements + fixture.tensor("output.\(number).scene").elements) {
        #expect(abs(a - b) <= 1e-4)
      }
      let seen = try judge.look(frames)
      #expect(seen == expected.seen, "\(kind) \(number)")
      for scored in expected.scored {
        let counts = judge.match(scored.expected, seen).counts.mapValues { [$0.right, $0.wanted] }
        #expect(counts == scored.counts, "\(kind) \(number): \(scored.expected)")
        try judge.check(scored.expected)
      }
    }
  }

  @Test func sharesPool() throws {
    let a = Adherence(counts: [
      "colour": .init(right: 2, wanted: 3), "count": .one(true), "both": .init(right: 0, wanted: 3),
    ])
    let b = Adherence(counts: ["colour": .one(false), "floor": .one(true)])
    #expect(a.share == 0.75)
    let pooled = Adherence.pooled([a, b])
    #expect(pooled.counts["colour"] == .init(right: 2, wanted: 4) && pooled.counts["both"]?.wanted == 3)
    #expect(pooled.share == 4.0 / 6)
  }

  @Test func framesAreEvenlyChosen() {
    #expect(Judge.shown(9, of: 17) == [0, 2, 4, 6, 8, 10, 12, 14, 16])
    // Halves go to the even one, as torch.linspace(0, 4, 9).round() has them.
    #expect(Judge.shown(9, of: 5) == [0, 0, 1, 2, 2, 2, 3, 4, 4])
    #expect(Judge.shown(9, of: 1) == Array(repeating: 0, count: 9) && Judge.shown(1, of: 5) == [0])
  }

  @Test func expectationsAreChecked() throws {
    let judge = try Judge(file: Self.file("judge_image"))
    func message(_ expected: ExpectedScene) -> String {
      do {
        try judge.check(expected)
        return "none"
      } catch { return "\(error)" }
    }
    let thing = ExpectedScene.Thing(shape: "cube", colour: "red")
    #expect(message(ExpectedScene(things: [thing], floor: "grey")) == "none")
    #expect(
      message(ExpectedScene(things: [thing, .init(shape: "pyramid", colour: "red")]))
        == "things[1].shape: expected one of sphere, cube, cylinder, cone, torus; found 'pyramid'")
    #expect(
      message(ExpectedScene(things: [thing], camera: "still"))
        == "camera: expected nothing, since the judge of images does not tell it; found 'still'")
    #expect(throws: EvaluationError.tooShort(metric: "judge", minimum: 1, found: 0)) { try judge.look([]) }
  }

  // MARK: Hostile files

  /// The message of a judge's file whose header was changed, with the file called FILE.
  private func message(_ change: (inout [String: [String: Any]]) -> Void, data: ((inout Data) -> Void)? = nil) throws
    -> String
  {
    let bytes = try Data(contentsOf: Self.file("judge_image"))
    let length = bytes.prefix(8).enumerated().reduce(0) { $0 + Int($1.element) << (8 * $1.offset) }
    var header = try #require(
      JSONSerialization.jsonObject(with: bytes.subdata(in: 8..<8 + length)) as? [String: [String: Any]])
    change(&header)
    var body = bytes.subdata(in: 8 + length..<bytes.count)
    data?(&body)
    let json = try JSONSerialization.data(withJSONObject: header)
    let size = Data((0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) })
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("judge-\(UUID().uuidString).safetensors")
    try (size + json + body).write(to: url)
    defer { try? FileManager.default.removeItem(at: url) }
    do {
      _ = try Judge(file: url)
      return "none"
    } catch { return "\(error)".replacingOccurrences(of: url.path, with: "FILE") }
  }

  @Test(arguments: [
    ("kind", "film", "expected image or clip as metadata 'kind', found 'film'"),
    ("kind", nil, "expected image or clip as metadata 'kind', found none"),
    ("frames", "9", "expected a number of 1 to 1 as metadata 'frames', found '9'"),
    ("side", "1000000", "expected a number of 16 to 512 as metadata 'side', found '1000000'"),
    ("strides", "2,2,1,1,1,1,0", "expected 1 to 32 numbers of 1 to 2 as metadata 'strides', found '2,2,1,1,1,1,0'"),
    ("strides", "2,2,2,2,2,2,2", "expected a map of at least 4 rows left as metadata 'strides', found '2,2,2,2,2,2,2'"),
    ("dilations", "1,1,1", "expected 7 to 7 numbers of 1 to 8 as metadata 'dilations', found '1,1,1'"),
    ("pooling", "top,left", "expected top, bottom or all as metadata 'pooling', found 'top,left'"),
    (
      "things", "shape,shape,size",
      "expected shape, colour, size in any order as metadata 'things', found 'shape,shape,size'"
    ),
    ("colour", "red,,blue", "expected names as metadata 'colour', found 'red,,blue'"),
    ("floor", "grey,grey", "expected different names as metadata 'floor', found 'grey,grey'"),
    ("least", "much", "expected a number of 0 to 1 as metadata 'least', found 'much'"),
  ]) func wrongMetadataIsRefused(key: String, value: String?, expected: String) throws {
    #expect(try message { $0["__metadata__"]?[key] = value } == "FILE: not a judge: " + expected)
  }

  @Test func wrongWeightsAreRefused() throws {
    #expect(try message { _ in } == "none")
    for name in ["body.3.bias", "body.0.weight", "things.bias"] {
      let found = try message { header in
        header["spare"] = header[name]
        header[name] = nil
      }
      #expect(found == "FILE: no tensor '\(name)'")
    }
    #expect(
      try message { $0["body.0.weight"]?["shape"] = [4, 27] }
        == "FILE: tensor 'body.0.weight' has shape [4, 27], expected [4, 3, 3, 3]")
    #expect(
      try message { $0["__metadata__"]?["floor"] = "grey,brown" }
        == "FILE: tensor 'scene.weight' has shape [8, 16], expected [6, 16]")
    #expect(
      try message({ _ in }, data: { $0.replaceSubrange(0..<$0.count, with: Data(repeating: 0x7e, count: $0.count)) })
        == "FILE: tensor 'body.0.weight' holds infinities or NaN")
    // One convolution fewer than there are weights for.
    let left = try message { header in
      header["__metadata__"]?["strides"] = "2,2,1,1,1,1"
      header["__metadata__"]?["dilations"] = "1,1,1,2,1,3"
    }
    #expect(left.hasPrefix("FILE: ") && left.contains("body.6.bias"))
    #expect(throws: CheckpointError.missing(path: "/nowhere/judge.safetensors", reason: "no such file")) {
      try Judge(file: URL(fileURLWithPath: "/nowhere/judge.safetensors"))
    }
  }
}
