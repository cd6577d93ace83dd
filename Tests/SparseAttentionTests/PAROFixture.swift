import Foundation

@testable import SparseAttention

/// A calibration of PARO with random orders and masks, for tests that need one for some layout.
enum PAROFixture {
  /// Writes both files.
  /// - Parameters:
  ///   - context: the run; its calibration folder does not matter.
  ///   - folder: where to; a new one if `nil`.
  ///   - densities: share of the blocks that each set of masks keeps, on average; the diagonal is always kept.
  ///   - change: alters the table before it is written.
  /// - Returns: the context with the folder to look in, and a hash of weights if it had none.
  static func write(
    for context: MethodContext, in folder: URL? = nil, densities: [Double] = [0.5], block: Int = 64, groups: Int = 0,
    change: (inout PAROTable) -> Void = { _ in }
  ) throws -> MethodContext {
    var context = context
    let folder = folder ?? FileManager.default.temporaryDirectory.appendingPathComponent("paro-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    (context.calibrationFolder, context.modelHash) = (folder.path, context.modelHash ?? "weights")

    var state: UInt64 = 0x2545_F491_4F6C_DD1D
    func random(below limit: Int) -> Int {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Int(state >> 33) % limit
    }
    let stepGroup = PAROSelection.stepGroups(of: context.stepCount, groups: groups)
    let side = PAROBlocks(context.layout, block: block).visual.count
    let shape = PAROMaskShape(
      densities: densities.count, groups: stepGroup.max()! + 1, layers: context.layerCount, heads: context.heads,
      blocks: side)
    var masks: [UInt8] = []
    for density in densities {
      for _ in 0..<shape.groups * shape.layers * shape.heads {
        masks += PAROPlanFile.bytes(
          (0..<side * side).map { $0 / side == $0 % side || Double(random(below: 1000)) < density * 1000 })
      }
    }
    var table = PAROTable(
      header: CalibrationHeader(method: "paro", context: context, prompts: ["a red sphere"]), block: block,
      orders: (0..<context.layerCount).map { _ in (0..<context.heads).map { _ in random(below: 6) } },
      stepGroup: stepGroup, densities: densities, keptShare: densities, keptAttention: densities, masks: "paro.masks")
    change(&table)
    let files = try PAROPlanFile.files(table, masks: masks, layout: context.layout)
    try Data(files[0].bytes).write(to: folder.appendingPathComponent(files[0].name))
    try Data(files[1].bytes).write(to: folder.appendingPathComponent("paro.masks"))
    return context
  }

  static func remove(_ context: MethodContext) {
    if let folder = context.calibrationFolder { try? FileManager.default.removeItem(atPath: folder) }
  }
}
