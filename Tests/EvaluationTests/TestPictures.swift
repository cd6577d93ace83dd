import Foundation
import Media

@testable import Evaluation

/// The pictures that `Fixtures/images.py` makes, in whole numbers.
enum TestPictures {
  static func mix(_ value: Int) -> Int {
    var x = UInt32(truncatingIfNeeded: value)
    x = (x ^ x >> 16) &* 0x7FEB_352D
    x = (x ^ x >> 15) &* 0x846C_A68B
    return Int(x ^ x >> 16)
  }

  /// Smooth clouds with a disc of the opposite colours.
  static func picture(_ width: Int, _ height: Int, seed: Int) -> Frame {
    var pixels: [UInt8] = []
    let radius = min(width, height) / 4
    for y in 0..<height {
      for x in 0..<width {
        let (fx, fy) = (x % 16, y % 16), (dx, dy) = (x - width / 3, y - height / 2)
        for c in 0..<3 {
          func corner(_ i: Int, _ j: Int) -> Int { mix(seed * 1_000_003 + i * 4099 + j * 7 + c) & 255 }
          let (i, j) = (x / 16, y / 16)
          let top = corner(i, j) * (16 - fx) + corner(i + 1, j) * fx
          let bottom = corner(i, j + 1) * (16 - fx) + corner(i + 1, j + 1) * fx
          let value = (top * (16 - fy) + bottom * fy) / 256
          pixels.append(UInt8(dx * dx + dy * dy < radius * radius ? 255 - value : value))
        }
      }
    }
    return Frame(width: width, height: height, pixels: pixels)
  }

  static func noisy(_ frame: Frame, strength: Int, seed: Int) -> Frame {
    changed(frame) { index, value in value + mix(index + seed * 7_368_787) % (2 * strength + 1) - strength }
  }

  /// `pixels` to the right, what leaves comes in at the left.
  static func shifted(_ frame: Frame, by columns: Int = 1) -> Frame {
    let row = frame.width * 3
    return changed(frame) { index, _ in
      Int(frame.pixels[index / row * row + (index % row - 3 * columns + 64 * row) % row])
    }
  }

  static func change(_ name: String, _ frame: Frame) -> Frame {
    switch name {
    case "noise": noisy(frame, strength: 12, seed: 5)
    case "shift": shifted(frame)
    case "dim": changed(frame) { $1 * 3 / 4 + 20 }
    case "invert": changed(frame) { 255 - $1 }
    case "same": frame
    default: preconditionFailure("no change '\(name)'")
    }
  }

  static func clip(_ width: Int, _ height: Int, frames: Int, seed: Int, strength: Int) -> [Frame] {
    let base = picture(width, height, seed: seed)
    return (0..<frames).map { noisy(shifted(base, by: 2 * $0), strength: strength, seed: seed * 100 + $0) }
  }

  private static func changed(_ frame: Frame, _ transform: (Int, Int) -> Int) -> Frame {
    Frame(
      width: frame.width, height: frame.height,
      pixels: frame.pixels.enumerated().map { UInt8(min(max(transform($0, Int($1)), 0), 255)) })
  }
}

/// `Fixtures/metrics.json`.
struct ReferenceResults: Decodable {
  struct Image: Decodable {
    var change: String, width: Int, height: Int, seed: Int
    var psnr: Double?, ssim: Double, flip: Double, msSSIM: Double?, pytorchMSSSIM: Double?

    var pair: (frame: Frame, reference: Frame) {
      let reference = TestPictures.picture(width, height, seed: seed)
      return (TestPictures.change(change, reference), reference)
    }
    var label: String { "\(change) \(width)x\(height)" }
  }
  struct Clip: Decodable {
    var width: Int, height: Int, frames: Int, seed: Int, strengths: [Int]
    var temporalDifferenceError: [Double], flicker: [Double], flickerExcess: [Double], vbenchScore: Double
    var psnr: [Double]

    func clip(_ index: Int) -> [Frame] {
      TestPictures.clip(width, height, frames: frames, seed: seed, strength: strengths[index])
    }
  }
  struct Statistics: Decodable {
    struct Interval: Decodable {
      var statistic: String, lower: Double, upper: Double, scipyLower: Double, scipyUpper: Double
    }
    var values: [Double], seed: UInt64, resamples: Int, confidence: Double, intervals: [Interval]
    var quantiles: [String: Double]
  }
  var images: [Image], clip: Clip, statistics: Statistics

  static let all: ReferenceResults = {
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/metrics.json")
    guard let data = try? Data(contentsOf: url), let all = try? JSONDecoder().decode(Self.self, from: data) else {
      preconditionFailure("cannot read \(url.path)")
    }
    return all
  }()
}
