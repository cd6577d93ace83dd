import Evaluation

/// Quality against cost: a point a variant, lines along families, bars of confidence, and the points worth choosing
/// filled and ringed.
public struct ParetoPlot: Plot {
  public struct Point: Sendable, Hashable {
    public var x: Double, y: Double
    /// Where the estimates may lie; `nil` for no bar.
    public var xRange: ClosedRange<Double>?, yRange: ClosedRange<Double>?
    /// What a pointer is told.
    public var title: String
    /// Whether no other point is as good and cheaper, or better and as cheap.
    public var isOptimal = false

    public init(
      x: Double, y: Double, xRange: ClosedRange<Double>? = nil, yRange: ClosedRange<Double>? = nil, title: String
    ) {
      (self.x, self.y, self.xRange, self.yRange, self.title) = (x, y, xRange, yRange, title)
    }
  }

  public struct Series: Sendable, Hashable {
    public var entry: LegendEntry
    /// In the order they are joined.
    public var points: [Point]

    public init(entry: LegendEntry, points: [Point]) { (self.entry, self.points) = (entry, points) }
  }

  public struct Scale: Sendable, Hashable {
    public var name: String, direction: MetricDirection
    /// A value that the axis reaches in any case.
    public var includes: [Double]

    public init(name: String, direction: MetricDirection, includes: [Double] = []) {
      (self.name, self.direction, self.includes) = (name, direction, includes)
    }
  }

  public let title: String
  public let width = 460.0, height = 330.0
  public private(set) var series: [Series]
  let x: Scale, y: Scale
  /// The optimal points from the cheapest on.
  private let front: [SIMD2<Double>]

  /// Series without points are left out of the field and kept in the legend.
  public init(title: String, x: Scale, y: Scale, series: [Series]) {
    (self.title, self.x, self.y) = (title, x, y)
    let all = series.flatMap(\.points)
    let optimal = ParetoFront.indices(of: all.map { [$0.x, $0.y] }, axes: [x.direction, y.direction])
    let chosen = Set(optimal.map { [all[$0].x, all[$0].y] })
    self.series = series.map { series in
      var series = series
      for index in series.points.indices {
        series.points[index].isOptimal = chosen.contains([series.points[index].x, series.points[index].y])
      }
      return series
    }
    front = chosen.map { SIMD2($0[0], $0[1]) }.sorted { $0.x < $1.x }
  }

  public var legend: [LegendEntry] { series.map(\.entry) }
  var isEmpty: Bool { series.allSatisfy(\.points.isEmpty) }

  public func draw(on canvas: inout some Canvas) throws {
    let points = series.flatMap(\.points)
    func ends(_ range: ClosedRange<Double>?) -> [Double] { range.map { [$0.lowerBound, $0.upperBound] } ?? [] }
    let frame = AxisFrame(
      width: width, height: height,
      x: Axis(points.flatMap { [$0.x] + ends($0.xRange) }, includes: x.includes, isSnug: true),
      y: Axis(points.flatMap { [$0.y] + ends($0.yRange) }, count: 7, includes: y.includes, isSnug: true))
    frame.draw(xName: x.name, yName: y.name, on: &canvas)
    canvas.polyline(front.map { place($0.x, $0.y, frame) }, Stroke(.faint, width: 7, opacity: 0.16))
    for series in series { drawLines(series, frame, on: &canvas) }
    // What is worth choosing lies on top.
    for series in series { drawMarkers(series, isOptimal: false, frame, on: &canvas) }
    for series in series { drawMarkers(series, isOptimal: true, frame, on: &canvas) }
  }

  /// Infinite values lie at the edge.
  private func place(_ x: Double, _ y: Double, _ frame: AxisFrame) -> SIMD2<Double> {
    let edge = y > 0 ? frame.y.range.upperBound : frame.y.range.lowerBound
    return frame.point(x, y.isFinite ? y : edge)
  }

  private func drawLines(_ series: Series, _ frame: AxisFrame, on canvas: inout some Canvas) {
    let ink = series.entry.ink
    canvas.polyline(
      series.points.map { place($0.x, $0.y, frame) },
      Stroke(ink, width: 1.6, opacity: 0.65, dashes: series.entry.dashes))
    for point in series.points {
      if let range = point.yRange, range.lowerBound.isFinite, range.upperBound.isFinite {
        bar(from: frame.point(point.x, range.lowerBound), to: frame.point(point.x, range.upperBound), ink, on: &canvas)
      }
      if let range = point.xRange, point.y.isFinite {
        bar(from: frame.point(range.lowerBound, point.y), to: frame.point(range.upperBound, point.y), ink, on: &canvas)
      }
    }
  }

  private func bar(from: SIMD2<Double>, to: SIMD2<Double>, _ ink: Ink, on canvas: inout some Canvas) {
    let stroke = Stroke(ink, width: 1.2, opacity: 0.6), cap = from.x == to.x ? SIMD2(3.0, 0) : SIMD2(0, 3.0)
    for line in [[from, to], [from - cap, from + cap], [to - cap, to + cap]] { canvas.polyline(line, stroke) }
  }

  private func drawMarkers(_ series: Series, isOptimal: Bool, _ frame: AxisFrame, on canvas: inout some Canvas) {
    let entry = series.entry
    for point in series.points where point.isOptimal == isOptimal {
      let center = place(point.x, point.y, frame)
      canvas.marker(
        entry.marker, center: center, radius: isOptimal ? 5.6 : 4.5,
        fill: isOptimal && !entry.isHollow ? entry.ink : .paper,
        outline: isOptimal && !entry.isHollow
          ? Stroke(.text, width: 1.2) : Stroke(entry.ink, width: isOptimal ? 2.4 : 1.5),
        title: point.title)
      if !point.y.isFinite {
        canvas.text(
          NumberText.fixed(point.y, 0), baseline: center + SIMD2(9, 4), anchor: .start, style: .label, ink: .faint)
      }
    }
  }
}
