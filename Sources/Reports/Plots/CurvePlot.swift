/// Values along a clip, one line a variant.
public struct CurvePlot: Plot {
  public struct Series: Sendable, Hashable {
    public var entry: LegendEntry
    /// One a frame; what is not finite leaves a gap.
    public var values: [Double]

    public init(entry: LegendEntry, values: [Double]) { (self.entry, self.values) = (entry, values) }
  }

  public let title: String
  public let width = 460.0, height = 250.0
  public let xName: String, yName: String
  public let series: [Series]
  /// Of other plots that this one is to be compared with.
  public let alsoReaches: [Double]

  public init(title: String, xName: String, yName: String, series: [Series], alsoReaches: [Double] = []) {
    (self.title, self.xName, self.yName, self.series) = (title, xName, yName, series)
    self.alsoReaches = alsoReaches
  }

  public var legend: [LegendEntry] { series.map(\.entry) }

  public func draw(on canvas: inout some Canvas) throws {
    let last = Double(max(1, (series.map(\.values.count).max() ?? 1) - 1))
    var x = Axis([0, last], count: 8, includes: [0, last], isSnug: true)
    x.ticks = x.ticks.filter { $0 == $0.rounded() }
    x.decimals = 0
    let frame = AxisFrame(
      width: width, height: height, x: x, y: Axis(series.flatMap(\.values) + alsoReaches, count: 4, isSnug: true))
    frame.draw(xName: xName, yName: yName, on: &canvas)
    for series in series {
      for run in Self.runs(series.values) {
        let points = run.map { frame.point(Double($0), series.values[$0]) }
        canvas.polyline(points, Stroke(series.entry.ink, width: 1.8, dashes: series.entry.dashes))
        for (index, point) in zip(run, points) where series.values.count <= 33 {
          canvas.marker(
            series.entry.marker, center: point, radius: 3.2, fill: series.entry.ink,
            outline: Stroke(series.entry.ink, width: 0.5),
            title: "\(series.entry.name), \(xName) \(index): \(NumberText.fixed(series.values[index], 4))")
        }
      }
    }
  }

  /// Indices of neighbouring finite values.
  private static func runs(_ values: [Double]) -> [[Int]] {
    var runs: [[Int]] = [[]]
    for (index, value) in values.enumerated() {
      if value.isFinite { runs[runs.count - 1].append(index) } else { runs.append([]) }
    }
    return runs.filter { !$0.isEmpty }
  }
}
