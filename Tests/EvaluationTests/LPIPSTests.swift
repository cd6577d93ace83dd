import Checkpoints
import Foundation
import Testing

@testable import Evaluation

/// `Fixtures/lpips.json`: names and shapes of a network's weights, and what the `lpips` package says with those below.
private struct LPIPSResults: Decodable {
  struct Case: Decodable {
    var change: String, width: Int, height: Int, seed: Int, value: Double
  }
  var shapes: [String: [Int]], cases: [Case]

  static func read() throws -> [String: LPIPSResults] {
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures/lpips.json")
    return try JSONDecoder().decode([String: LPIPSResults].self, from: Data(contentsOf: url))
  }
}

/// The weights of `Fixtures/make_lpips_fixtures.py`.
private func madeUpWeights(_ shapes: [String: [Int]]) -> [String: [Float]] {
  var result: [String: [Float]] = [:]
  for (seed, item) in shapes.sorted(by: { $0.key < $1.key }).enumerated() {
    let (name, shape) = item
    let spread = Float((6 / Double(shape.dropFirst().reduce(1, *))).squareRoot())
    result[name] = (0..<shape.reduce(1, *)).map { index in
      let value = Float(Double(TestPictures.mix(index + seed * 40_503_001) >> 8) / 0x1p23 - 1)
      return name.hasPrefix("lins.") ? abs(value) : value * (name.hasSuffix("weight") ? spread : 0.125)
    }
  }
  return result
}

/// A safetensors file in a folder of its own.
private func write(
  _ tensors: [String: [Float]], shapes: [String: [Int]], metadata: [String: String]
) throws -> URL {
  var header: [String: Any] = ["__metadata__": metadata], bytes = Data()
  for name in tensors.keys.sorted() {
    let start = bytes.count
    tensors[name]!.withUnsafeBytes { bytes.append(contentsOf: $0) }
    header[name] = ["dtype": "F32", "shape": shapes[name]!, "data_offsets": [start, bytes.count]]
  }
  let json = try JSONSerialization.data(withJSONObject: header)
  var file = withUnsafeBytes(of: UInt64(json.count).littleEndian) { Data($0) }
  file.append(json)
  file.append(bytes)
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("lpips-" + UUID().uuidString)
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  let url = folder.appendingPathComponent("weights.safetensors")
  try file.write(to: url)
  return url
}

@Suite struct LPIPSTests {
  @Test(arguments: ["alex", "vgg"]) func equalsReferenceImplementation(network: String) throws {
    let expected = try #require(try LPIPSResults.read()[network])
    let url = try write(
      madeUpWeights(expected.shapes), shapes: expected.shapes, metadata: ["network": network])
    defer { try? FileManager.default.removeItem(at: url.deletingLastPathComponent()) }
    let lpips = try LPIPS(file: url)
    #expect(lpips.name == "lpips-" + network)
    for item in expected.cases {
      let reference = TestPictures.picture(item.width, item.height, seed: item.seed)
      let value = try lpips(TestPictures.change(item.change, reference), reference: reference)
      #expect(abs(value - item.value) <= 2e-6, "\(network) \(item): found \(value)")
      #expect(try lpips(reference, reference: reference) == 0)
    }
    let minimum = lpips.network.minimumSize
    let small = TestPictures.picture(minimum - 1, minimum, seed: 1)
    #expect(
      throws: EvaluationError.tooSmall(metric: lpips.name, minimum: minimum, found: "\(minimum - 1)x\(minimum)")
    ) { try lpips(small, reference: small) }
  }

  @Test func wrongWeightsAreRefusedInOneLine() throws {
    let shapes = try #require(try LPIPSResults.read()["alex"]?.shapes)
    let zeros = shapes.mapValues { [Float](repeating: 0, count: $0.reduce(1, *)) }
    func message(_ tensors: [String: [Float]], _ shapes: [String: [Int]], _ metadata: [String: String]) throws -> String
    {
      let url = try write(tensors, shapes: shapes, metadata: metadata)
      defer { try? FileManager.default.removeItem(at: url.deletingLastPathComponent()) }
      do {
        _ = try LPIPS(file: url)
        return "none"
      } catch {
        return "\(error)".replacingOccurrences(of: url.path, with: "FILE")
      }
    }
    #expect(
      try message(zeros, shapes, [:])
        == "FILE: not LPIPS weights: expected metadata network=alex or network=vgg, found none")
    #expect(try message(zeros, shapes, ["network": "squeeze"]).hasSuffix("found network=squeeze"))
    var fewer = zeros
    fewer["lins.3.weight"] = nil
    #expect(try message(fewer, shapes, ["network": "alex"]) == "FILE: no tensor 'lins.3.weight'")
    #expect(
      try message(zeros, shapes, ["network": "vgg"])
        == "FILE: tensor 'features.0.weight' has shape [64, 3, 11, 11], expected [64, 3, 3, 3]")
    var more = zeros, moreShapes = shapes
    (more["features.99.bias"], moreShapes["features.99.bias"]) = ([0], [1])
    #expect(try message(more, moreShapes, ["network": "alex"]).contains("'features.99.bias'"))
    let missing = URL(fileURLWithPath: "/nowhere/lpips.safetensors")
    #expect(throws: CheckpointError.missing(path: missing.path, reason: "no such file")) { try LPIPS(file: missing) }
  }
}
