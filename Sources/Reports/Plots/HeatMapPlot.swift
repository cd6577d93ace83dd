import Media

/// A matrix in colours, with its axes and a bar of the colours. Dark is low.
public struct HeatMapPlot: Plot {
  public let title: String
  /// `[rows][columns]`, all rows as long, none empty; NaN is grey.
  public let values: [[Double]]
  /// Of the first and the last colour.
  public let range: ClosedRange<Double>
  public let rowName: String, columnName: String

  public init(title: String, values: [[Double]], range: ClosedRange<Double>, rowName: String, columnName: String) {
    precondition(
      !values.isEmpty && values.allSatisfy { !$0.isEmpty && $0.count == values[0].count }, "\(title): ragged matrix")
    (self.title, self.values, self.range) = (title, values, range)
    (self.rowName, self.columnName) = (rowName, columnName)
  }

  public var legend: [LegendEntry] { [] }
  public let width = 300.0
  public var height: Double { max(field.bottom, 56) + 34 }

  /// Cells are at most 26 points wide and at most as high as wide.
  var field: Box {
    let across = min(206, Double(values[0].count) * 26), cell = across / Double(values[0].count)
    return Box(x: 32, y: 6, width: across, height: min(max(cell, 6), 240 / Double(values.count)) * Double(values.count))
  }

  public func draw(on canvas: inout some Canvas) throws {
    let box = field, rows = values.count, columns = values[0].count
    try canvas.picture(
      HeatMap.draw(
        values.flatMap { $0.map(Float.init) }, rows: rows, columns: columns,
        range: Float(range.lowerBound)...Float(range.upperBound)), in: box)
    let rowHeight = box.height / Double(rows), columnWidth = box.width / Double(columns)
    for row in stride(from: 0, to: rows, by: Self.labelStep(rows, room: box.height, each: 15)) {
      canvas.text(
        "\(row)", baseline: [box.x - 5, box.y + (Double(row) + 0.5) * rowHeight + 4], anchor: .end, style: .label,
        ink: .faint)
    }
    for column in stride(from: 0, to: columns, by: Self.labelStep(columns, room: box.width, each: 22)) {
      canvas.text(
        "\(column)", baseline: [box.x + (Double(column) + 0.5) * columnWidth, box.bottom + 14], anchor: .middle,
        style: .label, ink: .faint)
    }
    canvas.text(
      "\(columnName) across, \(rowName) down", baseline: [box.x, box.bottom + 29], anchor: .start, style: .label,
      ink: .faint)
    try drawBar(beside: box, on: &canvas)
  }

  private func drawBar(beside box: Box, on canvas: inout some Canvas) throws {
    let bar = Box(x: box.right + 14, y: box.y, width: 9, height: max(box.height, 50)), steps = 48
    let values = (0..<steps).map { 1 - Float($0) / Float(steps - 1) }
    try canvas.picture(HeatMap.draw(values, rows: steps, columns: 1, range: 0...1), in: bar)
    let decimals = range.upperBound - range.lowerBound < 0.1 ? 3 : 2
    for (value, y) in [(range.upperBound, bar.y + 9), (range.lowerBound, bar.bottom)] {
      canvas.text(
        NumberText.fixed(value, decimals), baseline: [bar.right + 5, y], anchor: .start, style: .label, ink: .faint)
    }
  }

  /// Every how many labels fit.
  private static func labelStep(_ count: Int, room: Double, each: Double) -> Int {
    let least = Int((Double(count) * each / room).rounded(.up))
    return [1, 2, 5, 10, 20, 50, 100].first { $0 >= least } ?? least
  }
}
