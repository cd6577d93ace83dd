import Checkpoints
import Foundation
import Testing
import TolerantJSON

@Suite struct TolerantJSONTests {
  struct Sample: Decodable, Equatable {
    var lambdaMin: Double?, text: String?, values: [Float]?
  }

  private func decode(_ json: String) throws -> Sample {
    try TolerantJSON.decode(Sample.self, from: Data(json.utf8), path: "x.json")
  }

  @Test func acceptsNonFiniteNumbers() throws {
    #expect(try decode(#"{"lambda_min": -Infinity}"#).lambdaMin == -.infinity)
    #expect(try decode(#"{"values": [Infinity, 1, NaN]}"#).values?[0] == .infinity)
    #expect(try decode(#"{"text": "NaN \" -Infinity"}"#).text == #"NaN " -Infinity"#)
  }

  @Test(arguments: [
    ("{", "not valid JSON"), (#"{"text": 1}"#, "expected String at text"), ("", "not valid JSON"),
    (#"{"values": [1, "x"]}"#, "expected"), (#"{"lambda_min": Infinit}"#, "not valid JSON"),
    (String(repeating: "[", count: 200_000), "not valid JSON"),
  ])
  func saysWhatIsWrong(_ json: String, _ reason: String) {
    do {
      _ = try decode(json)
      Issue.record("accepted")
    } catch {
      #expect("\(error)".contains(reason) && "\(error)".hasPrefix("x.json: "), "\(error)")
    }
  }

  @Test func bounds() throws {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try Data(repeating: 32, count: 100).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    #expect(throws: TolerantJSON.Failure.self) { try TolerantJSON.read(file, limit: 99) }
    #expect(try TolerantJSON.read(file, limit: 100).count == 100)
    #expect(throws: TolerantJSON.Failure.self) { try TolerantJSON.read(file.appendingPathComponent("none")) }
  }

  @Test func waitsForNoPipe() throws {
    let pipe = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try #require(mkfifo(pipe.path, 0o600) == 0)
    defer { try? FileManager.default.removeItem(at: pipe) }
    for file in [pipe, URL(fileURLWithPath: "/dev/zero"), FileManager.default.temporaryDirectory] {
      let failure = #expect(throws: TolerantJSON.Failure.self) { try TolerantJSON.read(file) }
      #expect(failure?.reason == "not a regular file")
    }
    #expect(throws: CheckpointError.self) { try SafetensorsFile(pipe) }
  }
}
