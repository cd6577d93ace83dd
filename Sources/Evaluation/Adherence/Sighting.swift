/// What a judge tells of things and of the scene around them. Raw values are the spelling in specs and files.
public enum SceneAttribute: String, Sendable, Hashable, CaseIterable {
  /// Of a thing; `motion` in clips only.
  case shape, colour, size, motion
  /// Of the whole; `camera` is its motion, in clips only.
  case floor, background, camera
}

/// What a judge saw in a picture or clip.
public struct Sighting: Sendable, Hashable, Codable {
  public struct Thing: Sendable, Hashable, Codable {
    public var shape: String, colour: String, size: String
    /// In clips.
    public var motion: String?
    /// The cell of the judge's map with its centre: column and row from the left upper corner.
    public var x: Int, y: Int
    /// How sure the judge is that there is a thing, 0...1, to three decimals.
    public var sure: Double
  }

  /// In pictures from left to right, in clips the surest first.
  public var things: [Thing]
  public var floor: String, background: String
  /// In clips.
  public var camera: String?
}

/// What a caption promises. What it leaves open is `nil`.
public struct ExpectedScene: Sendable, Hashable, Codable {
  public struct Thing: Sendable, Hashable, Codable {
    public var shape: String, colour: String
    public var size: String?, motion: String?

    public init(shape: String, colour: String, size: String? = nil, motion: String? = nil) {
      (self.shape, self.colour, self.size, self.motion) = (shape, colour, size, motion)
    }
  }

  /// How things stand to each other, in the order they are named.
  public enum Arrangement: String, Sendable, Hashable, Codable, CaseIterable {
    /// The first is left of the second, right of it, in front of it, behind it.
    case left, right, front, behind
    /// The first is between the second and the third.
    case between
    /// Three from left to right.
    case row

    /// Things it is about: the first so many.
    public var thingCount: Int { self == .between || self == .row ? 3 : 2 }
  }

  /// At least one; of clips the first is the one that is judged.
  public var things: [Thing]
  public var floor: String?, background: String?, camera: String?
  /// Of pictures only.
  public var arrangement: Arrangement?

  public init(
    things: [Thing], floor: String? = nil, background: String? = nil, camera: String? = nil,
    arrangement: Arrangement? = nil
  ) {
    (self.things, self.floor, self.background, self.camera) = (things, floor, background, camera)
    self.arrangement = arrangement
  }
}
