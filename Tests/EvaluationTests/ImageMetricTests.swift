import Media
import Tensors
import Testing

@testable import Evaluation

@Suite struct ImageMetricTests {
  /// scikit-image and the paper in Float64; FLIP's own program works in Float32.
  @Test func equalsReferenceImplementations() throws {
    var worst: [String: Double] = [:]
    func check(_ metric: any FrameMetric, _ item: ReferenceResults.Image, _ expected: Double?, within: Double) throws {
      guard let expected else { return }
      let (frame, reference) = item.pair
      let error = abs(try metric(frame, reference: reference) - expected)
      worst[metric.name] = max(worst[metric.name] ?? 0, error)
      #expect(error <= within, "\(metric.name) of \(item.label): off by \(error)")
    }
    for item in ReferenceResults.all.images {
      try check(PSNR(), item, item.psnr, within: 1e-9)
      try check(SSIM(), item, item.ssim, within: 1e-9)
      try check(MultiScaleSSIM(), item, item.msSSIM, within: 1e-9)
      try check(MultiScaleSSIM(), item, item.pytorchMSSSIM, within: 1e-6)
      try check(FLIP(), item, item.flip, within: 1e-5)
    }
    #expect(Set(worst.keys) == Set(Metrics.frame.map(\.name)), "\(worst)")
  }

  @Test func equalFramesAreEqualForEveryMetric() throws {
    let frame = TestPictures.picture(170, 165, seed: 9)
    #expect(try PSNR()(frame, reference: frame) == .infinity)
    #expect(try SSIM()(frame, reference: frame) == 1)
    #expect(try MultiScaleSSIM()(frame, reference: frame) == 1)
    #expect(try FLIP()(frame, reference: frame) == 0)
  }

  @Test func blackAgainstWhiteIsTheWorstOfFLIP() throws {
    let black = Frame(width: 24, height: 24, red: 0, green: 0, blue: 0)
    let white = Frame(width: 24, height: 24, red: 255, green: 255, blue: 255)
    let map = try FLIP().errorMap(black, reference: white)
    #expect(map.count == 24 * 24 && map.allSatisfy { $0 > 0.9 && $0 <= 1 })
  }

  @Test func framesThatCannotBeComparedAreRefusedInOneLine() {
    let wide = TestPictures.picture(40, 20, seed: 1), high = TestPictures.picture(20, 40, seed: 1)
    for metric in Metrics.frame {
      #expect(
        throws: EvaluationError.differentSizes(metric: metric.name, expected: "20x40", found: "40x20")
      ) { try metric(wide, reference: high) }
    }
    let tiny = TestPictures.picture(10, 400, seed: 1), medium = TestPictures.picture(160, 400, seed: 1)
    #expect(throws: EvaluationError.tooSmall(metric: "ssim", minimum: 11, found: "10x400")) {
      try SSIM()(tiny, reference: tiny)
    }
    #expect(throws: EvaluationError.tooSmall(metric: "ms-ssim", minimum: 161, found: "160x400")) {
      try MultiScaleSSIM()(medium, reference: medium)
    }
    #expect(
      EvaluationError.tooSmall(metric: "ms-ssim", minimum: 161, found: "160x400").description
        == "ms-ssim: frame of 160x400 is too small; the shorter side must have at least 161 pixels")
  }

  @Test func threadCountDoesNotChangeBytes() throws {
    let reference = TestPictures.picture(203, 181, seed: 2)
    let frame = TestPictures.noisy(reference, strength: 20, seed: 3)
    let before = try Metrics.frame.map { try $0(frame, reference: reference) }
    ThreadPool.shared.configure(threads: 3)
    #expect(try Metrics.frame.map { try $0(frame, reference: reference) } == before)
  }

  @Test func relativeErrorOfTensors() throws {
    let reference = Tensor([2, 2], [3, 0, 0, 4]), other = Tensor([2, 2], [3, 1, 0, 4])
    #expect(try relativeL2(other, reference: reference) == 0.2)
    #expect(try relativeL2(reference, reference: reference) == 0)
    #expect(try relativeL2(Tensor(zeros: [2]), reference: Tensor(zeros: [2])) == 0)
    #expect(try relativeL2(Tensor([2], [1, 0]), reference: Tensor(zeros: [2])) == .infinity)
    #expect(throws: EvaluationError.self) { try relativeL2(reference, reference: Tensor(zeros: [4])) }
  }

  @Test func differenceImagesShowWhereAndWhichWay() throws {
    let reference = Frame(width: 2, height: 1, pixels: [100, 100, 100, 50, 60, 70])
    let frame = Frame(width: 2, height: 1, pixels: [100, 110, 20, 82, 92, 102])
    #expect(try DifferenceImage.absolute(frame, reference: reference).pixels == [0, 40, 255, 128, 128, 128])
    let signed = try DifferenceImage.signed(frame, reference: reference, limit: 32).pixels
    // -70 / 3 of 32 levels to blue; all of 32 to red.
    #expect(signed == [69, 69, 255, 255, 0, 0])
    #expect(try DifferenceImage.signed(frame, reference: frame).pixels.allSatisfy { $0 == 255 })
    #expect(throws: EvaluationError.self) {
      try DifferenceImage.absolute(frame, reference: TestPictures.picture(3, 3, seed: 1))
    }
  }
}
