import Tensors

/// `|a - b| / |b|` in L2, summed in Float64: how far latents are from those of the reference. Where the reference is
/// all zeros it is 0 for equal tensors, infinite for others.
/// - Parameters:
///   - tensor, reference: of one shape, any.
public func relativeL2(_ tensor: Tensor, reference: Tensor) throws -> Double {
  guard tensor.shape == reference.shape else {
    throw EvaluationError.differentShapes(expected: reference.shape, found: tensor.shape)
  }
  let (a, b) = (tensor.elements, reference.elements)
  var difference = 0.0, norm = 0.0
  for index in a.indices {
    let expected = Double(b[index]), error = Double(a[index]) - expected
    difference += error * error
    norm += expected * expected
  }
  return difference == 0 ? 0 : (difference / norm).squareRoot()
}
