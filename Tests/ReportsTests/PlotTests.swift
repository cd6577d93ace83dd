import Evaluation
import Foundation
import Media
import Testing

@testable import Reports

@Suite struct PlotTests {
  private let entry = LegendEntry(name: "draft", ink: .family(0), marker: .square)

  private func plot(_ points: [(Double, Double)], _ direction: MetricDirection = .higher) -> ParetoPlot {
    ParetoPlot(
      title: "quality", x: .init(name: "density", direction: .lower, includes: [0]),
      y: .init(name: "PSNR", direction: direction),
      series: [.init(entry: entry, points: points.map { .init(x: $0.0, y: $0.1, title: "p") })])
  }

  @Test func optimalPointsAreMarked() {
    let points = plot([(0.1, 20), (0.2, 25), (0.3, 24), (0.5, 30)]).series[0].points
    #expect(points.map(\.isOptimal) == [true, true, false, true])
    #expect(plot([(0.1, 20), (0.2, 25)], .lower).series[0].points.map(\.isOptimal) == [true, false])
  }

  @Test(arguments: [
    ([0.1, 0.5], [0.0], 5, [0, 0.1, 0.2, 0.3, 0.4, 0.5], 1), ([20.0, 31.0], [], 5, [20, 25, 30, 35], 0),
    ([0.0, 0.004], [], 4, [0, 0.001, 0.002, 0.003, 0.004], 3), ([7.0], [], 2, [6.5, 7, 7.5], 1),
  ])
  func axesHaveRoundTicks(
    _ values: [Double], _ includes: [Double], _ count: Int, _ ticks: [Double], _ decimals: Int
  ) {
    let axis = Axis(values, count: count, includes: includes)
    #expect(axis.ticks.count == ticks.count)
    #expect(zip(axis.ticks, ticks).allSatisfy { abs($0 - $1) < 1e-9 })
    #expect(axis.decimals == decimals)
    #expect(values.allSatisfy { axis.range.contains($0) })
  }

  @Test func axesOfNothingAndOfInfinitiesAreFinite() {
    for values in [[], [Double.infinity, .nan], [0, 0], [-1e-12, 1e-12], [1e9, 1e9 + 1]] {
      let axis = Axis(values, isSnug: true)
      #expect(axis.range.lowerBound < axis.range.upperBound && axis.ticks.count < 20)
      #expect(axis.range.lowerBound.isFinite && axis.range.upperBound.isFinite)
    }
  }

  /// Both canvases put the same things in the same places.
  @Test func rasterShowsWhatTheSVGSays() throws {
    var canvas = RasterCanvas(width: 40, height: 30, scale: 1)
    canvas.rectangle(Box(x: 5, y: 5, width: 10.5, height: 8), fill: .family(0), opacity: 1)
    canvas.marker(.circle, center: [30, 20], radius: 5, fill: .family(1), outline: Stroke(.text), title: nil)
    canvas.polyline([[0, 28], [40, 28]], Stroke(.text, width: 2))
    let frame = canvas.frame
    func pixel(_ x: Int, _ y: Int) -> [UInt8] { Array(frame.pixels[(y * 40 + x) * 3..<(y * 40 + x) * 3 + 3]) }
    #expect(pixel(6, 6) == [0x00, 0x72, 0xb2] && pixel(30, 20) == [0xd5, 0x5e, 0x00])
    #expect(pixel(2, 2) == [255, 255, 255] && pixel(20, 27) == [0x1d, 0x23, 0x29])
    // Half covered.
    #expect(pixel(15, 6) == [0x80, 0xb9, 0xd9])
    // The same bytes every time.
    let plot = plot([(0.1, 20), (0.2, 25), (0.3, .infinity)])
    #expect(try plot.png() == plot.png() && plot.svg() == plot.svg())
    let picture = try PNGFile.decode(plot.png()).frame
    #expect(picture.width == 2 * 492 && picture.pixels.contains { $0 < 64 })
    let svg = PageChecks(try plot.svg(), isPage: false)
    #expect(svg.problems == [] && svg.texts.contains("inf") && svg.elements.contains("path"))
  }

  @Test func everyShapeIsItsOwnAndAboutAsLarge() {
    let areas = MarkerShape.allCases.map { shape in
      let polygon = Polygon(shape.corners)
      var inside = 0
      for x in -30...30 {
        for y in -30...30 where polygon.distance(SIMD2(Double(x), Double(y)) / 20) < 0 { inside += 1 }
      }
      return Double(inside) / 400
    }
    #expect(areas.allSatisfy { (1.3...3).contains($0) }, "\(areas)")
    #expect(Set(MarkerShape.allCases.map(\.corners)).count == MarkerShape.allCases.count)
    #expect(
      Ink.familyCount >= 8 && Set((0..<Ink.familyCount).map { Ink.family($0).colors.light }).count == Ink.familyCount)
  }

  @Test func dashesAreGaps() {
    var canvas = RasterCanvas(width: 40, height: 4, scale: 1)
    canvas.polyline([[0, 2], [40, 2]], Stroke(.text, width: 2, dashes: [10, 10]))
    let frame = canvas.frame, row = (0..<40).map { frame.pixels[(2 * 40 + $0) * 3] }
    #expect(row[5] < 64 && row[15] == 255 && row[25] < 64 && row[35] == 255)
  }

  @Test func curvesLeaveGapsWhereNothingIsFinite() throws {
    let plot = CurvePlot(
      title: "along", xName: "frame", yName: "PSNR",
      series: [.init(entry: entry, values: [30, 31, .infinity, 29, .nan, 28, 27])])
    let svg = try plot.svg()
    #expect(PageChecks(svg, isPage: false).problems == [] && !svg.contains("nan") && !svg.contains("inf"))
    #expect(svg.components(separatedBy: "stroke=\"#0072b2\"").count - 1 >= 3)
  }

  @Test func heatMapsAreOnePictureWithAxes() throws {
    let plot = HeatMapPlot(
      title: "density", values: (0..<30).map { row in (0..<50).map { Double(row * $0) / 1500 } }, range: 0...1,
      rowName: "layer", columnName: "step")
    let checks = PageChecks(try plot.svg(), isPage: false)
    #expect(checks.problems == [] && checks.elements.count { $0 == "image" } == 2)
    #expect(checks.texts.contains("step across, layer down") && plot.height < 330)
  }
}
