import Foundation
import TolerantJSON

/// The JSON part of PARO's tables: the header's fields, then these.
struct PAROTable: Hashable, Sendable {
  var header: CalibrationHeader
  /// Tokens of a block.
  var block: Int
  /// The order of each head by layer, an index into ``PAROAttention/axes``.
  var orders: [[Int]]
  /// The group of masks of each denoising step.
  var stepGroup: [Int]
  /// What the masks were made to keep of the pairs of visual tokens, a set of masks each.
  var densities: [Double]
  /// What they do keep on average, and how much of the attention seen in calibration lies in it.
  var keptShare: [Double], keptAttention: [Double]
  /// Name of the file with the masks, in the same folder.
  var masks: String
}

extension PAROTable: Codable {
  private enum CodingKeys: CodingKey {
    case block, orders, stepGroup, densities, keptShare, keptAttention, masks
  }

  init(from decoder: any Decoder) throws {
    header = try CalibrationHeader(from: decoder)
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    block = try fields.decode(Int.self, forKey: .block)
    orders = try fields.decode([[Int]].self, forKey: .orders)
    stepGroup = try fields.decode([Int].self, forKey: .stepGroup)
    densities = try fields.decode([Double].self, forKey: .densities)
    keptShare = try fields.decode([Double].self, forKey: .keptShare)
    keptAttention = try fields.decode([Double].self, forKey: .keptAttention)
    masks = try fields.decode(String.self, forKey: .masks)
  }

  func encode(to encoder: any Encoder) throws {
    try header.encode(to: encoder)
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(block, forKey: .block)
    try fields.encode(orders, forKey: .orders)
    try fields.encode(stepGroup, forKey: .stepGroup)
    try fields.encode(densities, forKey: .densities)
    try fields.encode(keptShare, forKey: .keptShare)
    try fields.encode(keptAttention, forKey: .keptAttention)
    try fields.encode(masks, forKey: .masks)
  }
}

/// How the masks lie in their file: by density, group, layer and head, each a square of bits row by row, the lowest bit
/// of a byte first, the last byte of a mask filled up with zeros.
struct PAROMaskShape: Hashable, Sendable {
  var densities: Int, groups: Int, layers: Int, heads: Int
  /// Visual blocks, the side of a mask.
  var blocks: Int

  var maskBytes: Int { (blocks * blocks + 7) / 8 }
  func offset(density: Int, group: Int, layer: Int, head: Int) -> Int {
    (((density * groups + group) * layers + layer) * heads + head) * maskBytes
  }
  /// Bytes of the file; `nil` where no machine could count them.
  var byteCount: Int? {
    [densities, groups, layers, heads].reduce(Optional(maskBytes)) { product, factor in
      guard let product else { return nil }
      let (result, overflows) = product.multipliedReportingOverflow(by: factor)
      return overflows ? nil : result
    }
  }
}

/// A calibration of PARO: the JSON file, and the masks, which stay in their file until a plan asks for them.
struct PAROPlanFile: Sendable {
  /// Where the JSON file is, and the one with the masks.
  let path: String, masksPath: String
  let table: PAROTable
  let shape: PAROMaskShape
  private let masks: Data

  static let remedy = "make it with sweep-attention calibrate --method paro"

  /// Reads and checks both files.
  init(_ path: String, context: MethodContext, interpolate: Bool) throws {
    func refuse(_ reason: String) -> AttentionError { .calibration(path: path, reason: reason) }
    let url = URL(fileURLWithPath: path), table: PAROTable
    do {
      table = try TolerantJSON.decode(PAROTable.self, from: url)
    } catch let failure as TolerantJSON.Failure {
      throw refuse(failure.reason + (failure.isMissing ? "; \(Self.remedy)" : ""))
    }
    try table.header.check(
      method: PAROAttention.information.name, context: context, path: path, interpolate: interpolate,
      otherGrids: false)
    if let fault = table.fault(context.layout) { throw refuse(fault) }
    let blocks = PAROBlocks(context.layout, block: table.block).visual.count
    shape = PAROMaskShape(
      densities: table.densities.count, groups: (table.stepGroup.max() ?? 0) + 1, layers: table.header.layers,
      heads: table.header.heads, blocks: blocks)
    let file = url.deletingLastPathComponent().appendingPathComponent(table.masks).resolvingSymlinksInPath()
    guard let expected = shape.byteCount else { throw refuse("its masks would take more bytes than can be counted") }
    guard let size = try? FileManager.default.attributesOfItem(atPath: file.path)[.size] as? Int else {
      throw refuse("its masks '\(table.masks)' are not beside it; \(Self.remedy)")
    }
    guard size == expected else {
      throw refuse("its masks '\(table.masks)' must have \(expected) bytes, found \(size)")
    }
    guard TolerantJSON.isRegular(file), let masks = try? Data(contentsOf: file, options: .mappedIfSafe),
      masks.count == expected
    else {
      throw refuse("its masks '\(table.masks)' cannot be read")
    }
    (self.path, masksPath, self.table, self.masks) = (path, file.path, table, masks)
  }

  /// Calls `body` with every kept pair of visual blocks of one mask.
  func forEachKept(density: Int, group: Int, layer: Int, head: Int, _ body: (_ row: Int, _ column: Int) -> Void) {
    let start = masks.startIndex + shape.offset(density: density, group: group, layer: layer, head: head)
    for (index, byte) in masks[start..<start + shape.maskBytes].enumerated() {
      var bits = byte
      while bits != 0 {
        let bit = index * 8 + bits.trailingZeroBitCount
        bits &= bits - 1
        if bit < shape.blocks * shape.blocks { body(bit / shape.blocks, bit % shape.blocks) }
      }
    }
  }

  /// One mask as its bytes.
  static func bytes(_ mask: [Bool]) -> [UInt8] {
    stride(from: 0, to: mask.count, by: 8).map { start in
      (start..<min(start + 8, mask.count)).reduce(0) { $0 | (mask[$1] ? 1 << ($1 - start) : 0) }
    }
  }

  /// The two files of a calibration.
  static func files(_ table: PAROTable, masks: [UInt8], layout: TokenLayout) throws -> [(name: String, bytes: [UInt8])]
  {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let name = CalibrationHeader.fileName(method: PAROAttention.information.name, layout: layout)
    return [(name, try [UInt8](encoder.encode(table)) + [10]), (table.masks, masks)]
  }
}

extension PAROTable {
  /// What is wrong with the table for a layout; `nil` where nothing is. The header is checked already.
  fileprivate func fault(_ layout: TokenLayout) -> String? {
    if header.grid != [layout.frames, layout.height, layout.width] {
      return "made for \(header.grid.map(String.init).joined(separator: "x")) tokens, this run has \(layout.gridName): "
        + "masks of blocks along an order mean nothing on another grid; calibrate for it"
    }
    if !(8...4096).contains(block) || layout.visualCount / block >= BlockPlan.blockLimit {
      return "block must be 8 to 4096 tokens and cut a grid into at most \(BlockPlan.blockLimit), found \(block)"
    }
    let orderCount = PAROAttention.axes.count
    if orders.count != header.layers || !orders.allSatisfy({ $0.count == header.heads }) {
      return "expected orders of \(header.layers) layers x \(header.heads) heads"
    }
    if let order = orders.joined().first(where: { !(0..<orderCount).contains($0) }) {
      return "an order must be 0 to \(orderCount - 1), found \(order)"
    }
    if stepGroup.count != header.steps || !stepGroup.allSatisfy({ (0..<header.steps).contains($0) }) {
      return "expected a group of masks below \(header.steps) for each of \(header.steps) steps"
    }
    if !(1...16).contains(densities.count) || !densities.allSatisfy({ $0 > 0 && $0 <= 1 }) {
      return "expected 1 to 16 densities above 0 and at most 1, found \(densities.count)"
    }
    if masks.isEmpty || masks.hasPrefix(".") || masks.contains(where: { "/\\\0".contains($0) }) {
      return "the masks' file name must have no folder in it, found '\(masks)'"
    }
    return nil
  }
}
