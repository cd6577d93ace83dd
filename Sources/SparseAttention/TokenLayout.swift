/// One sample's tokens in model order: `prefix` text tokens, then frames x height x width visual tokens (column
/// fastest), then `suffix` text tokens. An image has one frame.
public struct TokenLayout: Hashable, Sendable {
  public var frames: Int, height: Int, width: Int, prefix: Int, suffix: Int

  public init(frames: Int = 1, height: Int, width: Int, prefix: Int = 0, suffix: Int = 0) {
    (self.frames, self.height, self.width) = (frames, height, width)
    (self.prefix, self.suffix) = (prefix, suffix)
  }

  /// Visual tokens.
  public var visualCount: Int { frames * height * width }
  /// Visual tokens of one frame.
  public var frameCount: Int { height * width }
  /// All tokens.
  public var count: Int { prefix + visualCount + suffix }
  /// Index of a visual token among all.
  public func token(frame: Int, row: Int, column: Int) -> Int { prefix + (frame * height + row) * width + column }
  /// `FxHxW`, as file names and reports spell a grid.
  public var gridName: String { "\(frames)x\(height)x\(width)" }
}

/// The keys that are left where a layer shortens keys and values: a coarser grid over the same picture (PixArt-Sigma,
/// arXiv:2403.04692). Each key stands for the visual token at the top left of the area it was made from.
public struct KeyGrid: Hashable, Sendable {
  /// Rows and columns of visual tokens that one key covers.
  public var rowStep: Int, columnStep: Int
  /// Keys down and across one frame.
  public var height: Int, width: Int

  public init(rowStep: Int, columnStep: Int, height: Int, width: Int) {
    (self.rowStep, self.columnStep, self.height, self.width) = (rowStep, columnStep, height, width)
  }

  /// Keys in all, text included.
  public func count(of layout: TokenLayout) -> Int {
    layout.prefix + layout.frames * height * width + layout.suffix
  }

  /// For each key in model order, the token it stands for. Text tokens stand for themselves.
  public func representatives(of layout: TokenLayout) -> [Int32] {
    precondition((height - 1) * rowStep < layout.height && (width - 1) * columnStep < layout.width)
    var result = (0..<layout.prefix).map(Int32.init)
    for frame in 0..<layout.frames {
      for row in 0..<height {
        for column in 0..<width {
          result.append(Int32(layout.token(frame: frame, row: row * rowStep, column: column * columnStep)))
        }
      }
    }
    return result + (layout.count - layout.suffix..<layout.count).map(Int32.init)
  }
}

/// Which prediction of a run asks.
public struct DenoisingCall: Hashable, Sendable {
  /// Index of the denoising step, and how many there are.
  public var step: Int, stepCount: Int
  /// Which guidance branch: 0 with the condition, 1 without. What a method carries from step to step it keeps apart.
  public var branch: Int

  public init(step: Int, of stepCount: Int, branch: Int = 0) {
    (self.step, self.stepCount, self.branch) = (step, stepCount, branch)
  }
}

/// Where in a run a self-attention call happens: all that a plan may depend on besides queries and keys.
public struct AttentionSite: Hashable, Sendable {
  public var layout: TokenLayout
  /// Index of the transformer layer, and how many there are.
  public var layer: Int, layerCount: Int
  public var call: DenoisingCall
  /// Attention heads.
  public var heads: Int
  /// The keys there are, where the layer shortens them; otherwise one a token.
  public var keyGrid: KeyGrid?

  public init(
    layout: TokenLayout, layer: Int, layerCount: Int, call: DenoisingCall, heads: Int, keyGrid: KeyGrid? = nil
  ) {
    (self.layout, self.layer, self.layerCount) = (layout, layer, layerCount)
    (self.call, self.heads, self.keyGrid) = (call, heads, keyGrid)
  }

  /// Keys of the call.
  public var keyCount: Int { keyGrid?.count(of: layout) ?? layout.count }

  /// The same in any layer and call: the key of plans that depend on neither.
  public var anywhere: AttentionSite {
    var site = self
    (site.layer, site.layerCount, site.call) = (0, 1, DenoisingCall(step: 0, of: 1))
    return site
  }
}
