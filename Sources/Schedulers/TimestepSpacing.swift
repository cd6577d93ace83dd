// Placement of sampling steps on the training timesteps: table 2 of Lin et al. 2023.

/// Where a given number of steps falls on the training timesteps.
enum TimestepSpacing: String, Sendable {
  case linspace
  case leading
  case trailing

  /// Timesteps, noisiest first. All are whole numbers unless `rounds` is false and the spacing is `linspace`.
  /// - Parameters:
  ///   - steps: at least one.
  ///   - trainCount: number of training timesteps.
  ///   - last: number of training timesteps that may be used, at most `trainCount`.
  ///   - offset: added to `leading` timesteps.
  ///   - reservesEnd: lay out one step more and leave out the least noisy, as multistep solvers do.
  func timesteps(
    _ steps: Int, trainCount: Int, last: Int, offset: Int, reservesEnd: Bool, rounds: Bool = true
  ) -> [Double] {
    let points = reservesEnd ? steps + 1 : steps
    let ascending: [Double]
    switch self {
    case .linspace:
      let even = Schedulers.linspace(0, Double(last - 1), points)
      ascending = rounds ? even.map { $0.rounded(.toNearestOrEven) } : even
    case .leading:
      let stride = last / points
      ascending = (0..<points).map { Double($0 * stride + offset) }
    case .trailing:
      let start = Double(last), ratio = Double(trainCount) / Double(steps)
      // The stride as it survives being added to the start, which decides halves.
      let stride = start - (start - ratio)
      let count = min(steps, Int((start / ratio).rounded(.up)))
      return (0..<count).map { (start - Double($0) * stride).rounded(.toNearestOrEven) - 1 }
    }
    return ascending.dropFirst(reservesEnd ? 1 : 0).reversed()
  }
}
