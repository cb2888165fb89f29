//! The activations and the softmax of the crate `kernels`, one number at a time, step by step as there, so with the
//! same bits. `mul_add` is one instruction where the target has it (`-C target-cpu=native`), and exact but slow
//! elsewhere.

/// Adding it rounds a float below 2^22 in size to an integer.
const ROUND: f32 = 12_582_912.0;
/// 2^-64
const TINY: f32 = 1.0 / (1u128 << 64) as f32;
/// ln 2 in two parts.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `if a > b { a } else { b }`: a NaN on either side gives `b`.
fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// `if a < b { a } else { b }`: a NaN on either side gives `b`.
fn min(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

fn polynomial<const N: usize>(x: f32, c: &[f32; N]) -> f32 {
    c[..N - 1].iter().rev().fold(c[N - 1], |p, &c| p.mul_add(x, c))
}

/// The same by Estrin's scheme; `square` is `x * x`.
fn estrin<const N: usize>(x: f32, square: f32, c: &[f32; N]) -> f32 {
    let pair = |c: &[f32]| if c.len() > 1 { x.mul_add(c[1], c[0]) } else { c[0] };
    c.chunks(2).rev().map(pair).reduce(|p, next| p.mul_add(square, next)).unwrap_or(0.0)
}

/// The sum in two parts, where |a| >= |b|.
fn sum(a: f32, b: f32) -> (f32, f32) {
    let t = a + b;
    (t, b - (t - a))
}

/// The product in two parts.
fn product(a: f32, b: f32) -> (f32, f32) {
    let p = a * b;
    (p, a.mul_add(b, 0.0 - p))
}

/// 2^n for an integer from -126 to 127; 0 at -127.
fn power(n: f32) -> f32 {
    f32::from_bits((n + (ROUND + 127.0)).to_bits() << 23)
}

/// v 2^n, rounded once.
fn scale(v: f32, n: f32) -> f32 {
    let half = n.mul_add(0.5, ROUND) - ROUND;
    v * power(half) * power(n - half)
}

/// The same for n from -190 to 60.
fn scale_below(v: f32, n: f32) -> f32 {
    v * power(n + 64.0) * TINY
}

/// The integer nearest to x / ln 2, and x less it times the high part of ln 2.
fn reduce(x: f32) -> (f32, f32) {
    let n = x.mul_add(std::f32::consts::LOG2_E, ROUND) - ROUND;
    (n, n.mul_add(-LN2_HIGH, x))
}

/// e^r, and (e^r - 1 - r) / r^2.
const EXP: [f32; 7] = [1.0, 1.0, TAIL[0], TAIL[1], TAIL[2], TAIL[3], TAIL[4]];
const TAIL: [f32; 5] = [0.499_999_94, 0.166_665_21, 0.041_668_266, 0.008_368_677, 0.001_382_073_2];

/// e^(high + low) as 2^n (1 + r + tail): (n, r, tail).
fn exponential(high: f32, low: f32) -> (f32, f32, f32) {
    const P: [f32; 6] = [0.5, 0.166_666_66, 0.041_666_493, 0.008_333_545, 0.001_393_233_1, 0.000_197_625_72];
    let (n, exact) = reduce(high);
    let (r, lost) = sum(exact, n.mul_add(-LN2_LOW, low));
    (n, r, (r * r).mul_add(polynomial(r, &P), lost))
}

/// 1 / (d + low) as y (1 + delta).
fn reciprocal(d: f32, low: f32) -> (f32, f32) {
    let y = 1.0 / d;
    let minus = 0.0 - y;
    (y, minus.mul_add(low, minus.mul_add(d, 1.0)))
}

/// 1 / (1 + e^-x) of x = high + low as y (1 + delta) power 2^-64: (y, delta, power).
fn logistic(high: f32, low: f32) -> (f32, f32, f32) {
    let n = high.mul_add(std::f32::consts::LOG2_E, ROUND) - ROUND;
    let r = n.mul_add(LN2_LOW, n.mul_add(LN2_HIGH, -high)) - low;
    let square = r * r;
    let t = square.mul_add(estrin(r, square, &TAIL), r);
    let power = power(n + 64.0);
    let whole = power.mul_add(TINY, 1.0);
    let lost = power.mul_add(TINY, 1.0 - whole);
    let (d, d_low) = sum(whole, t);
    let (y, delta) = reciprocal(d, d_low + lost);
    (y, delta, power)
}

pub fn identity(x: f32) -> f32 {
    x
}

pub fn relu(x: f32) -> f32 {
    max(0.0, x)
}

pub fn leaky_relu(x: f32, alpha: f32) -> f32 {
    if x < 0.0 { x * alpha } else { x }
}

pub fn elu(x: f32, alpha: f32) -> f32 {
    if 0.0 < x {
        return x;
    }
    let (n, r, tail) = exponential(min(89.0, max(-18.0, x)), 0.0);
    let half = power(n - 1.0);
    let (whole, beside) = sum(half, -0.5);
    let high = half.mul_add(r, whole);
    let lost = half.mul_add(r, whole - high);
    let y = high + half.mul_add(tail, lost + beside);
    alpha * if x.abs() < 1e-8 { x } else { y + y }
}

pub fn tanh(x: f32) -> f32 {
    let a = min(10.0, x.abs());
    let (n, r, tail) = exponential(a + a, 0.0);
    let power = power(n);
    let whole = power - 1.0;
    let high = power.mul_add(r, whole);
    let lost = power.mul_add(r, whole - high);
    let (t, t_low) = sum(high, power.mul_add(tail, lost));
    let (d, d_low) = sum(2.0, t);
    let d_low = d_low + t_low;
    let y = 1.0 / d;
    let q = t * y;
    let minus = 0.0 - q;
    let rest = minus.mul_add(d_low, minus.mul_add(d, t) + t_low);
    rest.mul_add(y, q).copysign(x)
}

pub fn sigmoid(x: f32) -> f32 {
    let (y, delta, power) = logistic(min(20.0, max(-110.0, x)), 0.0);
    y.mul_add(delta, y) * power * TINY
}

pub fn silu(x: f32) -> f32 {
    if 20.0 < x {
        return x;
    }
    let inside = min(20.0, max(-110.0, x));
    let (y, delta, power) = logistic(inside, 0.0);
    inside * y.mul_add(delta, y) * power * TINY
}

pub fn softplus(x: f32) -> f32 {
    const P: [f32; 9] = [
        -0.5,
        0.333_334_5,
        -0.250_001_1,
        0.199_908_48,
        -0.166_468_78,
        0.144_776_3,
        -0.131_639_36,
        0.104_725_51,
        -0.045_152_27,
    ];
    let a = 0.0 - min(105.0, x.abs());
    let (n, r, tail) = exponential(a, 0.0);
    let y = if a < -20.0 {
        scale(1.0 + (r + tail), n)
    } else {
        let power = power(max(-126.0, n));
        let (z, z_low) = sum(1.0, r + tail);
        let (z, z_low) = (z * power, z_low * power);
        let (k, f, f_low) = if 0.5 < z { (1.0, z.mul_add(0.5, -0.5), z_low * 0.5) } else { (0.0, z, z_low) };
        let f_low = (0.0 - f).mul_add(f_low, f_low);
        let (large, lost) = sum(k * LN2_HIGH, f);
        let small = k.mul_add(LN2_LOW, lost + f_low);
        large + polynomial(f, &P).mul_add(f * f, small)
    };
    max(0.0, x) + y
}

pub fn gelu(x: f32) -> f32 {
    const S: [f32; 5] = [0.398_942_26, -0.066_489_85, 0.009_969_527, -0.001_174_730_1, 0.000_097_901_17];
    const L: [f32; 4] = [-4.529_582_5, -9.404_122, -3.798_903_2, -1.000_297_3];
    const L_OVER: [f32; 6] = [1.392_812_8, 11.007_359, 15.440_387, 11.731_277, 3.810_196_2, 1.0];
    const LN_DENSITY: f32 = -261.0 / 256.0;
    const LN_DENSITY_REST: f32 = 0.100_592_72;
    const E: [f32; 6] = [0.499_999_8, 0.166_665_79, 0.041_669_186, 0.008_344_029, 0.001_387_204_9, 0.000_167_821_66];
    let a = min(14.5, x.abs());
    let square = a * a;
    if a < 0.85 {
        return x * x.mul_add(polynomial(square, &S), 0.5);
    }
    let l = estrin(a, square, &L) / estrin(a, square, &L_OVER);
    let (half, half_low) = product(a, a * -0.5);
    let high = half + LN_DENSITY;
    let low = half_low + (half - (high - LN_DENSITY));
    let (n, r) = reduce(high);
    let r = r + ((low + n.mul_add(-LN2_LOW, LN_DENSITY_REST)) + l);
    let p = estrin(r, r * r, &E).mul_add(r, 1.0).mul_add(r, 1.0);
    max(-0.0, x) - scale_below(p, n)
}

pub fn gelu_tanh(x: f32) -> f32 {
    const A: f32 = 1.595_769_9;
    const A_LOW: f32 = -7.605_964_4e-7;
    const B: f32 = 0.071_354_814;
    const B_LOW: f32 = 2.398_832_5e-9;
    if 5.2 < x {
        return x;
    }
    let x = min(5.2, max(-11.0, x));
    let (square, square_low) = product(x, x);
    let t = square.mul_add(B, A);
    let t_low = square.mul_add(B, A - t);
    let t_low = t_low + square.mul_add(B_LOW, square_low.mul_add(B, A_LOW));
    let (g, g_low) = product(x, t);
    let (y, delta, power) = logistic(g, x.mul_add(t_low, g_low));
    x * y.mul_add(delta, y) * power * TINY
}

pub fn mish(x: f32) -> f32 {
    if 20.0 < x {
        return x;
    }
    let inside = min(20.0, max(-110.0, x));
    let (n, r, tail) = exponential(inside, 0.0);
    let power = power(max(-126.0, n));
    let (e, e_low) = sum(1.0, r + tail);
    let (z, z_low) = (e * power, e_low * power);
    let (m, lost) = sum(2.0, z);
    let m_low = lost + z_low;
    let (em, em_low) = product(e, m);
    let em_low = e.mul_add(m_low, e_low.mul_add(m, em_low));
    let (d, lost) = sum(2.0, em * power);
    let (y, delta) = reciprocal(d, em_low.mul_add(power, lost));
    let (q, q_low) = product(em, y);
    let q_low = em_low.mul_add(y, q.mul_add(delta, q_low));
    scale(inside * (q + q_low), n)
}

pub fn hard_swish(x: f32) -> f32 {
    const SIXTH: f32 = 0.166_666_67;
    const SIXTH_LOW: f32 = -4.967_054e-9;
    if x <= -3.0 {
        return 0.0;
    }
    if 3.0 < x {
        return x;
    }
    let shifted = x + 3.0;
    x * shifted.mul_add(SIXTH, shifted * SIXTH_LOW)
}

/// e^(x - top), the difference not rounded, for x <= top.
fn exp_below(x: f32, top: f32) -> f32 {
    let d = x - top;
    if d < -104.0 {
        return 0.0;
    }
    let minus_top = d - x;
    let lost = (x - (d - minus_top)) - (top + minus_top);
    let (n, r) = reduce(d);
    let r = r + n.mul_add(-LN2_LOW, lost);
    scale_below(polynomial(r, &EXP), n)
}

/// e^(x - max) / Σ e^(x - max), the sum in 16 lanes that are then halved.
pub fn softmax(x: &mut [f32]) {
    let top = x.iter().fold(f32::NEG_INFINITY, |top, &x| max(top, x));
    let mut lanes = [0.0; 16];
    for (i, x) in x.iter_mut().enumerate() {
        *x = exp_below(*x, top);
        lanes[i % 16] += *x;
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    let (y, delta) = reciprocal(lanes[0], 0.0);
    let low = y * delta;
    for x in x {
        *x = x.mul_add(y, *x * low);
    }
}
