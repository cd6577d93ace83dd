import Media

/// A figure that any ``Canvas`` can show.
public protocol Plot: Sendable {
  /// What it shows, in a few words.
  var title: String { get }
  /// In points, without title and legend.
  var width: Double { get }
  var height: Double { get }
  /// What its colours and markers stand for.
  var legend: [LegendEntry] { get }
  func draw(on canvas: inout some Canvas) throws
}

/// A name with its colour and marker.
public struct LegendEntry: Sendable, Hashable {
  public var name: String, ink: Ink, marker: MarkerShape
  /// Whether only the outline is drawn.
  public var isHollow = false, dashes: [Double] = []

  public init(name: String, ink: Ink, marker: MarkerShape) { (self.name, self.ink, self.marker) = (name, ink, marker) }
}

extension Plot {
  /// A file of its own: title, plot and legend on white.
  public func svg() throws -> String {
    var canvas = SVGCanvas(width: fileWidth, height: fileHeight, use: .file)
    try drawFile(on: &canvas)
    return canvas.file()
  }

  /// The same as a PNG file's bytes.
  /// - Parameter scale: pixels a point.
  public func png(scale: Int = 2) throws -> [UInt8] {
    var canvas = RasterCanvas(width: fileWidth, height: fileHeight, scale: scale)
    try drawFile(on: &canvas)
    return try PNGFile.encode(canvas.frame)
  }

  /// For a page, which has its own title and legend.
  func markup() throws -> Markup {
    var canvas = SVGCanvas(width: width, height: height, use: .page)
    try draw(on: &canvas)
    return canvas.markup(label: title)
  }

  // MARK: Files

  private var margin: Double { 16 }
  private var titleHeight: Double { 28 }
  private var rowHeight: Double { 18 }
  // What the wider letters of pictures need.
  private var fileWidth: Double { max(width, Double(title.count) * 7.6) + 2 * margin }
  private var legendRows: [[LegendEntry]] {
    var rows: [[LegendEntry]] = [], used = Double.infinity
    for entry in legend {
      let width = entryWidth(entry)
      if used + width > self.width { (rows, used) = (rows + [[]], 0) }
      rows[rows.count - 1].append(entry)
      used += width
    }
    return rows
  }
  private func entryWidth(_ entry: LegendEntry) -> Double { Double(entry.name.count) * 6.4 + 40 }
  private var fileHeight: Double {
    height + titleHeight + 2 * margin + (legend.isEmpty ? 0 : 6) + Double(legendRows.count) * rowHeight
  }

  private func drawFile(on canvas: inout some Canvas) throws {
    canvas.rectangle(Box(x: 0, y: 0, width: fileWidth, height: fileHeight), fill: .paper, opacity: 1)
    canvas.text(title, baseline: [margin, margin + 12], anchor: .start, style: .title, ink: .text)
    var moved = ShiftedCanvas(canvas, by: [margin, margin + titleHeight])
    try draw(on: &moved)
    for (row, entries) in legendRows.enumerated() {
      var x = 8.0
      let y = height + 14 + Double(row) * rowHeight
      for entry in entries {
        entry.draw(on: &moved, at: [x, y])
        moved.text(entry.name, baseline: [x + 20, y + 4], anchor: .start, style: .label, ink: .text)
        x += entryWidth(entry)
      }
    }
    canvas = moved.canvas
  }
}

extension LegendEntry {
  /// A piece of line with the marker in its middle, 24 points wide.
  func draw(on canvas: inout some Canvas, at center: SIMD2<Double>) {
    canvas.polyline(
      [center - SIMD2(12, 0), center + SIMD2(12, 0)], Stroke(ink, width: 1.8, opacity: 0.7, dashes: dashes))
    canvas.marker(
      marker, center: center, radius: 5, fill: isHollow ? .paper : ink, outline: Stroke(ink, width: 1.5), title: nil)
  }
}

/// A canvas with its origin elsewhere.
struct ShiftedCanvas<Base: Canvas>: Canvas {
  var canvas: Base
  private let shift: SIMD2<Double>

  init(_ canvas: Base, by shift: SIMD2<Double>) { (self.canvas, self.shift) = (canvas, shift) }

  private func moved(_ box: Box) -> Box {
    Box(x: box.x + shift.x, y: box.y + shift.y, width: box.width, height: box.height)
  }

  mutating func rectangle(_ box: Box, fill: Ink, opacity: Double) {
    canvas.rectangle(moved(box), fill: fill, opacity: opacity)
  }
  mutating func polyline(_ points: [SIMD2<Double>], _ stroke: Stroke) {
    canvas.polyline(points.map { $0 + shift }, stroke)
  }
  mutating func marker(
    _ shape: MarkerShape, center: SIMD2<Double>, radius: Double, fill: Ink, outline: Stroke, title: String?
  ) {
    canvas.marker(shape, center: center + shift, radius: radius, fill: fill, outline: outline, title: title)
  }
  mutating func text(
    _ text: String, baseline: SIMD2<Double>, anchor: TextAnchor, style: TextStyle, ink: Ink
  ) {
    canvas.text(text, baseline: baseline + shift, anchor: anchor, style: style, ink: ink)
  }
  mutating func picture(_ frame: Frame, in box: Box) throws { try canvas.picture(frame, in: moved(box)) }
}

/// Two axes around a field, as all plots of values have them.
struct AxisFrame {
  var field: Box, x: Axis, y: Axis

  /// - Parameters:
  ///   - width, height: of the whole plot.
  init(width: Double, height: Double, x: Axis, y: Axis) {
    let widest = y.ticks.map { y.label($0).count }.max() ?? 1
    let left = 12 + Double(widest) * 6.6
    field = Box(x: left, y: 24, width: width - left - 14, height: height - 24 - 40)
    (self.x, self.y) = (x, y)
  }

  func point(_ x: Double, _ y: Double) -> SIMD2<Double> {
    SIMD2(field.x + self.x.place(x) * field.width, field.bottom - self.y.place(y) * field.height)
  }

  /// Grid, numbers and names. The vertical axis has its name above, where it need not be turned.
  func draw(xName: String, yName: String, on canvas: inout some Canvas) {
    for tick in y.ticks {
      let at = point(x.range.lowerBound, tick)
      canvas.polyline([at, SIMD2(field.right, at.y)], Stroke(.grid))
      canvas.text(y.label(tick), baseline: [field.x - 6, at.y + 4], anchor: .end, style: .label, ink: .faint)
    }
    for tick in x.ticks {
      let at = point(tick, y.range.lowerBound)
      canvas.polyline([at, at + SIMD2(0, 4)], Stroke(.faint))
      canvas.text(x.label(tick), baseline: at + SIMD2(0, 16), anchor: .middle, style: .label, ink: .faint)
    }
    canvas.polyline(
      [[field.x, field.bottom], [field.right, field.bottom]], Stroke(.faint))
    canvas.text(yName, baseline: [0, 12], anchor: .start, style: .label, ink: .text)
    canvas.text(xName, baseline: [field.right, field.bottom + 34], anchor: .end, style: .label, ink: .text)
  }
}
