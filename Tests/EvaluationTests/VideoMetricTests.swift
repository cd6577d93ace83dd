import Media
import Testing

@testable import Evaluation

@Suite struct VideoMetricTests {
  private func isNear(_ a: [Double], _ b: [Double]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) < 1e-9 }
  }

  @Test func curvesEqualReference() throws {
    let expected = ReferenceResults.all.clip, clip = expected.clip(0), reference = expected.clip(1)
    let difference = try TemporalDifferenceError().curve(clip, reference: reference)
    #expect(isNear(difference.values, expected.temporalDifferenceError))
    let flicker = try Flicker.curve(clip)
    #expect(isNear(flicker.values, expected.flicker))
    #expect(abs(Flicker.score(flicker) - expected.vbenchScore) < 1e-12)
    #expect(isNear(try FlickerExcess().curve(clip, reference: reference).values, expected.flickerExcess))
    #expect(isNear(try PSNR().curve(clip, reference: reference).values, expected.psnr))
  }

  @Test func aConstantOffsetIsNoTemporalDifference() throws {
    let clip = ReferenceResults.all.clip.clip(1).map { TestPictures.change("dim", $0) }
    let brighter = clip.map { Frame(width: $0.width, height: $0.height, pixels: $0.pixels.map { $0 + 5 }) }
    #expect(try TemporalDifferenceError().curve(brighter, reference: clip).values.allSatisfy { $0 == 0 })
    #expect(try FlickerExcess().curve(brighter, reference: clip).values.allSatisfy { $0 == 0 })
    #expect(try PSNR().curve(brighter, reference: clip).summary.infiniteCount == 0)
  }

  @Test func summariesNameTheWorstFrameAndKeepInfinityApart() throws {
    let frames = ReferenceResults.all.clip.clip(1)
    var clip = frames
    clip[2] = TestPictures.noisy(frames[2], strength: 3, seed: 1)
    clip[4] = TestPictures.noisy(frames[4], strength: 30, seed: 1)
    let psnr = try PSNR().curve(clip, reference: frames)
    #expect(psnr.summary.worstFrame == 4 && psnr.summary.infiniteCount == 4)
    #expect(psnr.summary.mean == (psnr.values[2] + psnr.values[4]) / 2)
    #expect(psnr.summary.minimum == psnr.values[4] && psnr.summary.maximum == .infinity)
    #expect(try FLIP().curve(clip, reference: frames).summary.worstFrame == 4)
    let same = try PSNR().curve(frames, reference: frames).summary
    #expect(same.mean == .infinity && same.infiniteCount == frames.count)
  }

  @Test func clipsThatCannotBeComparedAreRefused() {
    let clip = ReferenceResults.all.clip.clip(0)
    #expect(throws: EvaluationError.differentLengths(metric: "psnr", expected: 6, found: 5)) {
      try PSNR().curve(Array(clip.dropLast()), reference: clip)
    }
    #expect(throws: EvaluationError.tooShort(metric: "psnr", minimum: 1, found: 0)) {
      try PSNR().curve([], reference: [])
    }
    #expect(throws: EvaluationError.tooShort(metric: "flicker", minimum: 2, found: 1)) {
      try Flicker.curve([clip[0]])
    }
    for metric in Metrics.temporal {
      #expect(throws: EvaluationError.tooShort(metric: metric.name, minimum: 2, found: 1)) {
        try metric.curve([clip[0]], reference: [clip[1]])
      }
      #expect(throws: EvaluationError.self) {
        try metric.curve(clip, reference: Array(clip.dropLast()) + [TestPictures.picture(8, 8, seed: 1)])
      }
    }
  }
}
