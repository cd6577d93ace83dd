import Tensors

/// What a solver carries from one step to the next: saved with an interrupted run, and given back to go on with the same
/// numbers. Empty for solvers that look at one step only.
public struct SolverState: Sendable, Equatable {
  /// Each of the sample's shape.
  public var tensors: [Tensor]
  public var numbers: [Int]

  public init(tensors: [Tensor] = [], numbers: [Int] = []) { (self.tensors, self.numbers) = (tensors, numbers) }
}

extension Scheduler {
  public var savedState: SolverState { SolverState() }

  public mutating func restore(_ state: SolverState) throws {
    guard state == SolverState() else { throw Self.invalid("a saved state of another solver") }
  }
}

extension MultistepHistory {
  var state: SolverState { SolverState(tensors: outputs, numbers: [nextIndex ?? -1]) }

  mutating func restore(_ state: SolverState, for scheduler: (some Scheduler).Type) throws {
    guard state.numbers.count == 1, state.tensors.count <= capacity, let next = state.numbers.first, next >= -1,
      state.tensors.allSatisfy({ $0.shape == state.tensors[0].shape })
    else { throw scheduler.invalid("a saved state of another solver") }
    (outputs, nextIndex) = (state.tensors, next < 0 ? nil : next)
  }
}
