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
  /// All tokens.
  public var count: Int { prefix + visualCount + suffix }
}

/// Where in a run a self-attention call happens: all that a plan may depend on besides queries and keys.
public struct AttentionSite: Hashable, Sendable {
  public var layout: TokenLayout
  /// Index of the transformer layer, and how many there are.
  public var layer: Int, layerCount: Int
  /// Index of the denoising step.
  public var step: Int
  /// Attention heads.
  public var heads: Int

  public init(layout: TokenLayout, layer: Int, layerCount: Int, step: Int, heads: Int) {
    (self.layout, self.layer, self.layerCount) = (layout, layer, layerCount)
    (self.step, self.heads) = (step, heads)
  }
}
