import DiffusionPipelines
import Kernels
import Media
import SparseAttention

/// The report as a picture: density by layer and step, by layer and head, and what a few heads keep. Bright is kept.
extension AttentionReport {
  func picture() -> Frame {
    var parts = [header]
    if !records.isEmpty { parts += [matrices, Self.scale] }
    if !trace.samples.isEmpty { parts.append(samples) }
    return Frame.joined(parts, vertically: true, gap: 18).padded(16)
  }

  private var header: Frame {
    let attention = run.attention
    let choice = AttentionChoice(method: attention.method, options: attention.options)
    let dense = "dense steps \(attention.denseSteps ?? 0), dense layers \(attention.denseLayers ?? 0)"
    let grid = attention.tokenGrid.map(String.init).joined(separator: "x")
    let density =
      "density \(fixed(attention.density ?? 1, 4)) of sparse calls, \(fixed(attention.runDensity ?? 1, 4)) of the run"
    var lines = [
      choice.text == attention.method ? "no options" : choice.text,
      "\(grid) = \(attention.tokens) tokens, \(run.request.steps) steps, \(dense)", density,
    ]
    if let short = attention.kvCompression { lines.append("keys and values: \(short.summary)") }
    return Frame.joined(
      [PixelText.frame(attention.method, scale: 2)] + lines.map { PixelText.frame($0) }, vertically: true, gap: 3)
  }

  // MARK: Matrices

  private var matrices: Frame {
    let cell = max(2, min(24, 480 / steps, 360 / layers))
    let layers = (0..<self.layers).map { layer in records.filter { $0.layer == layer } }
    var panels = [
      Self.panel(
        "density by layer and step", cell: cell, columnName: "step",
        layers.map { records in
          (0..<steps).map { step in AttentionStatistics.density(records.filter { $0.step == step }) ?? 1 }
        })
    ]
    let heads = records.map(\.densityByHead.count).max() ?? 0
    if heads > 0 {
      panels.append(
        Self.panel(
          "by layer and head, sparse calls", cell: cell, columnName: "head",
          layers.map { Self.densityByHead($0, heads: heads) }))
    }
    return Frame.joined(panels, vertically: false, gap: 24)
  }

  /// Mean over sparse calls; 1 where there are none.
  private static func densityByHead(_ records: [AttentionRecord], heads: Int) -> [Double] {
    let sparse = records.filter { $0.densityByHead.count == heads }.map(\.densityByHead)
    return (0..<heads).map { head in
      sparse.isEmpty ? 1 : sparse.reduce(0) { $0 + $1[head] } / Double(sparse.count)
    }
  }

  /// A matrix of densities, one row a layer, with its axes.
  private static func panel(_ title: String, cell: Int, columnName: String, _ rows: [[Double]]) -> Frame {
    let columns = rows[0].count, left = 40, top = 14
    let map = HeatMap.draw(
      rows.flatMap { $0.map(Float.init) }, rows: rows.count, columns: columns, scale: cell, range: 0...1)
    var frame = Frame(
      width: max(left + map.width, PixelText.width(title)), height: top + map.height + 26, red: 255, green: 255,
      blue: 255)
    frame.write(title, x: 0, y: 0)
    frame.paste(map, x: left, y: top)
    for row in stride(from: 0, to: rows.count, by: max(1, (9 + cell) / cell)) {
      let text = "\(row)"
      frame.write(text, x: left - 4 - PixelText.width(text), y: top + row * cell + (cell - 7) / 2)
    }
    for column in stride(from: 0, to: columns, by: max(1, (20 + cell) / cell)) {
      frame.write("\(column)", x: left + column * cell + max(0, (cell - 5) / 2), y: top + map.height + 4)
    }
    frame.write("layer", x: 0, y: top + map.height + 4, grey: 110)
    frame.write(columnName, x: left, y: top + map.height + 16, grey: 110)
    return frame
  }

  /// The colours and what they stand for.
  private static var scale: Frame {
    let bar = HeatMap.draw((0...160).map { Float($0) / 160 }, rows: 1, columns: 161, scale: 1)
    var frame = Frame(width: 40 + 161 + 12, height: 22, red: 255, green: 255, blue: 255)
    for row in 0..<8 { frame.paste(bar, x: 40, y: row) }
    for (text, x) in [("0", 38), ("0.5", 112), ("1", 198)] { frame.write(text, x: x, y: 12) }
    return frame
  }

  // MARK: Thumbnails

  private var samples: Frame {
    let samples = distinctSamples, side = samples.count > 2 ? 128 : 256
    let rows = Set(samples.map(\.layer)).sorted().map { layer in
      Frame.joined(
        samples.filter { $0.layer == layer }.map { thumbnail($0, side: side) }, vertically: false, gap: 16)
    }
    let captions = [
      "What heads keep at the last sparse step, with the condition. Left: blocks of queries (down) by blocks of keys",
      "(across), in plan order. Right: the keys that the token in the middle (red) reads, on the picture's own grid.",
      "Layers and heads that keep the same are drawn once.",
    ].map { PixelText.frame($0) }
    return Frame.joined(
      [Frame.joined(captions, vertically: true, gap: 2)] + rows, vertically: true, gap: 14)
  }

  /// The samples without layers that repeat another and heads that repeat another of their layer.
  private var distinctSamples: [PatternSample] {
    func keepSame(_ a: PatternSample, _ b: PatternSample) -> Bool { a.pattern == b.pattern && a.reach == b.reach }
    var seen: [[PatternSample]] = [], result: [PatternSample] = []
    for layer in Set(trace.samples.map(\.layer)).sorted() {
      let heads = trace.samples.filter { $0.layer == layer }
      guard !seen.contains(where: { $0.elementsEqual(heads, by: keepSame) }) else { continue }
      seen.append(heads)
      result += heads.enumerated().filter { index, head in
        !heads[..<index].contains { keepSame($0, head) }
      }.map(\.element)
    }
    return result
  }

  private func thumbnail(_ sample: PatternSample, side: Int) -> Frame {
    let pattern = sample.pattern
    let blocks = Self.map(rows: pattern.rows, columns: pattern.columns, side: side) { pattern[$0, $1] }
    let label = "layer \(sample.layer) head \(sample.head): \(fixed(pattern.density, 3))"
    let pictures = Frame.joined([blocks, reach(sample, side: side)], vertically: false, gap: 6)
    return Frame.joined([PixelText.frame(label), pictures], vertically: true, gap: 2)
  }

  /// The keys that the middle token reads: for a video, at most five frames, the middle one among them.
  private func reach(_ sample: PatternSample, side: Int) -> Frame {
    let grid = run.attention.tokenGrid, (height, width) = (grid[1], grid[2]), middle = grid[0] / 2
    let shown = [-2, -1, 0, 1, 2].map { middle + $0 * max(1, grid[0] / 5) }.filter { (0..<grid[0]).contains($0) }
    return Frame.joined(
      shown.map { frame in
        var picture = Self.map(rows: height, columns: width, side: side) { row, column in
          sample.reach[(frame * height + row) * width + column]
        }
        if frame == middle {
          let x = picture.width * (2 * (width / 2) + 1) / (2 * width)
          let y = picture.height * (2 * (height / 2) + 1) / (2 * height)
          picture.fill(x: x - 1, y: y - 1, width: 3, height: 3, (230, 30, 30))
        }
        return picture
      }, vertically: false, gap: 3)
  }

  /// A map of kept and dropped, at most `side` pixels on its longer side: whole pixels a cell where cells are few, else
  /// the kept share of several in one pixel.
  private static func map(rows: Int, columns: Int, side: Int, isKept: (Int, Int) -> Bool) -> Frame {
    let longer = max(rows, columns), bin = (longer + side - 1) / side
    let height = (rows + bin - 1) / bin, width = (columns + bin - 1) / bin
    var sums = [Float](repeating: 0, count: height * width), counts = sums
    for row in 0..<rows {
      for column in 0..<columns {
        counts[row / bin * width + column / bin] += 1
        if isKept(row, column) { sums[row / bin * width + column / bin] += 1 }
      }
    }
    return HeatMap.draw(
      zip(sums, counts).map { $0 / $1 }, rows: height, columns: width, scale: max(1, side / longer), range: 0...1)
  }
}
