// Single-precision functions of Moshier's Cephes library (netlib cephes, single/logf.c and sinf.c), with the reduction
// steps in the order of their vectorised form (J. Pommier's sse_mathfun, AVX by G. Garberoglio), which PyTorch uses.
// PyTorch's compiler fuses some multiplications with the addition that follows; where it does, `addingProduct` says so
// here (read from the machine code of torch 2.15.0), and nowhere else, since Swift never fuses by itself.

/// Natural logarithm for `x` in (0, 1].
@inline(__always) func cephesLog(_ argument: Float) -> Float {
  let bits = argument.bitPattern
  // x = 2^e * m with m in [0.5, 1), then moved to [sqrt(1/2), sqrt(2)) and made relative to 1.
  var e = Float(Int32(bits >> 23) - 127) + 1
  let m = Float(bitPattern: bits & 0x807f_ffff | 0x3f00_0000)
  var x = m - 1
  if m < 0.707106781186547524 {
    e -= 1
    x += m
  }
  let z = x * x
  var y: Float = 7.0376836292E-2
  y = (-1.1514610310E-1 as Float).addingProduct(y, x)
  y = (1.1676998740E-1 as Float).addingProduct(y, x)
  y = (-1.2420140846E-1 as Float).addingProduct(y, x)
  y = (1.4249322787E-1 as Float).addingProduct(y, x)
  y = (-1.6668057665E-1 as Float).addingProduct(y, x)
  y = (2.0000714765E-1 as Float).addingProduct(y, x)
  y = (-2.4999993993E-1 as Float).addingProduct(y, x)
  y = (3.3333331174E-1 as Float).addingProduct(y, x)
  y *= x
  // ln 2 in two parts: 0.693359375 - 2.12194440e-4.
  y = (e * -2.12194440e-4).addingProduct(y, z)
  y -= z * 0.5
  return (x + y).addingProduct(e, 0.693359375)
}

/// Sine and cosine for `angle` in 0...8192.
@inline(__always) func cephesSineCosine(_ angle: Float) -> (sine: Float, cosine: Float) {
  // The octant, rounded up to even: 0, 2, 4, 6, 8 quarter turns times two.
  let octant = (Int32(angle * 1.27323954473516) + 1) & ~1
  let y = Float(octant)
  // Pi / 4 in three parts.
  var x = angle.addingProduct(y, -0.78515625)
  x = x.addingProduct(y, -2.4187564849853515625e-4)
  x = x.addingProduct(y, -3.77489497744594108e-8)
  let z = x * x

  var c: Float = 2.443315711809948E-005
  c = (-1.388731625493765E-003 as Float).addingProduct(c, z)
  c = (4.166664568298827E-002 as Float).addingProduct(c, z)
  c *= z
  c = (-(z * 0.5)).addingProduct(c, z) + 1

  var s: Float = -1.9515295891E-4
  s = (8.3321608736E-3 as Float).addingProduct(s, z)
  s = (-1.6666654611E-1 as Float).addingProduct(s, z)
  s *= z
  s = x.addingProduct(x, s)

  let swapped = octant & 2 != 0
  let sine = swapped ? c : s, cosine = swapped ? s : c
  return (octant & 4 == 0 ? sine : -sine, (octant &- 2) & 4 == 0 ? -cosine : cosine)
}
