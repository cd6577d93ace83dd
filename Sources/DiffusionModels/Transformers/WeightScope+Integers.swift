import Checkpoints
import Kernels

extension WeightScope {
  /// The same place for layers that take no 8-bit integers: embeddings, modulation and the last layer, whose errors every
  /// block or every pixel would carry, and which cost little.
  var withoutIntegers: WeightScope { with(precision.besideIntegers) }
}
