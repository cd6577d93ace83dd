/// A grid of frames in one.
public enum ContactSheet {
  /// Frames in reading order, `columns` to a row, with `gap` pixels of `background` between them and none around.
  ///
  /// Cells are as large as the largest frame; smaller ones lie in the middle of theirs. The last row may be short.
  /// - Parameter background: grey level of gaps and empty cells.
  public static func compose(_ frames: [Frame], columns: Int, gap: Int = 8, background: UInt8 = 255) -> Frame {
    precondition(!frames.isEmpty && columns > 0 && gap >= 0, "\(frames.count) frames in \(columns) columns, gap \(gap)")
    let columns = min(columns, frames.count)
    let rows = (frames.count + columns - 1) / columns
    let cellWidth = frames.reduce(0) { max($0, $1.width) }, cellHeight = frames.reduce(0) { max($0, $1.height) }
    let width = columns * (cellWidth + gap) - gap, height = rows * (cellHeight + gap) - gap
    var sheet = Frame(width: width, height: height, red: background, green: background, blue: background)
    for (index, frame) in frames.enumerated() {
      sheet.paste(
        frame, x: index % columns * (cellWidth + gap) + (cellWidth - frame.width) / 2,
        y: index / columns * (cellHeight + gap) + (cellHeight - frame.height) / 2)
    }
    return sheet
  }
}
