//! Long slices in parts, one for each thread. Elements do not depend on each other, so neither do the bits on the
//! parts.

use super::{Activation, Function, Update, check_len};
use crate::backend::Backend;
use crate::error::Result;
use crate::par::{Par, run_once};

/// A backend whose functions of slices run on the threads of a [`Par`], where the slices are long enough to pay: from
/// [`Parallel::GRAIN`] elements a thread, updates from [`Parallel::UPDATE_GRAIN`]. Made by [`Backend::on`].
///
/// ```
/// use kernels::{Activation, Backend, Team};
/// let (team, mut x) = (Team::new(2), vec![-1.0; 100_000]);
/// Backend::active()?.on(&team).map(Activation::Relu, &mut x);
/// assert!(x.iter().all(|&x| x == 0.0));
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Parallel<'a> {
    backend: &'a Backend,
    par: &'a dyn Par,
}

/// The start of a slice, for the jobs of a call.
#[derive(Clone, Copy)]
struct Start(*mut f32);
// SAFETY: each job works on elements of its own, and the call that made the value, which has the slice, outlasts the
// jobs.
unsafe impl Send for Start {}
// SAFETY: as above.
unsafe impl Sync for Start {}

impl Start {
    /// Where element `i` is.
    fn at(self, i: usize) -> *mut f32 {
        self.0.wrapping_add(i)
    }
}

impl Backend {
    /// The functions of slices on the threads of `par`.
    pub fn on<'a>(&'a self, par: &'a dyn Par) -> Parallel<'a> {
        Parallel { backend: self, par }
    }
}

impl Parallel<'_> {
    /// Elements that are worth a thread: the cheapest functions take some microseconds for them, as waking one does.
    pub const GRAIN: usize = 32 * 1024;
    /// Parameters that are worth a thread: of fewer, half are in the cache of the core that computed their gradients.
    pub const UPDATE_GRAIN: usize = 4 * Self::GRAIN;

    /// Calls `job(start, len)` for parts of at least `grain` elements that make up `0..len`, at the same time.
    fn parts(&self, len: usize, grain: usize, job: impl Fn(usize, usize) + Sync) {
        /// Parts begin at the start of a cache line if the slice does.
        const LINE: usize = 16;
        let parts = self.par.threads().min(len / grain).max(1);
        let part = len.div_ceil(parts).next_multiple_of(LINE);
        run_once(self.par, parts, &|i| {
            let start = (i * part).min(len);
            job(start, part.min(len - start));
        });
    }

    /// As [`Backend::map`].
    pub fn map(&self, f: impl Into<Function>, x: &mut [f32]) {
        let (f, start) = (f.into(), Start(x.as_mut_ptr()));
        // SAFETY: the backend is supported; a part is in the slice and no other job's.
        self.parts(x.len(), Self::GRAIN, |i, n| unsafe { (self.backend.math.map)(f, start.at(i), start.at(i), n) });
    }

    /// As [`Backend::map_into`].
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn map_into(&self, f: impl Into<Function>, x: &[f32], y: &mut [f32]) -> Result<()> {
        check_len("the output of a function", y.len(), x.len())?;
        let (f, start) = (f.into(), Start(y.as_mut_ptr()));
        // SAFETY: the backend is supported; a part is in both slices, and no other job's.
        self.parts(x.len(), Self::GRAIN, |i, n| unsafe { (self.backend.math.map)(f, x[i..].as_ptr(), start.at(i), n) });
        Ok(())
    }

    /// As [`Backend::activation_backward`].
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn activation_backward(&self, f: Activation, saved: &[f32], dy: &mut [f32]) -> Result<()> {
        check_len("the gradient of an activation", dy.len(), saved.len())?;
        let start = Start(dy.as_mut_ptr());
        self.parts(saved.len(), Self::GRAIN, |i, n| {
            // SAFETY: the backend is supported; a part is in both slices, and no other job's.
            unsafe {
                let dy = std::slice::from_raw_parts_mut(start.at(i), n);
                (self.backend.math.backward)(f, &saved[i..i + n], dy);
            }
        });
        Ok(())
    }

    /// As [`Backend::update`].
    ///
    /// # Errors
    /// When the lengths do not go together.
    pub fn update(
        &self,
        rule: &Update,
        gradients: &[f32],
        parameters: &mut [f32],
        state: [&mut [f32]; 2],
    ) -> Result<()> {
        let len = parameters.len();
        rule.check(gradients, parameters, &state)?;
        let (p, [m, v]) = (Start(parameters.as_mut_ptr()), state.map(|state| Start(state.as_mut_ptr())));
        // SAFETY: the backend is supported; a part is in all slices, and no other job's.
        self.parts(len, Self::UPDATE_GRAIN, |i, n| unsafe {
            (self.backend.math.update)(rule, gradients[i..].as_ptr(), p.at(i), [m.at(i), v.at(i)], n);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Activation, Adam, Backend, Team, Update};

    #[test]
    fn bits_do_not_depend_on_threads() {
        let numbers = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 1999) as f32 * 0.01 - 10.0).collect() };
        let adam = Update::Adam(Adam::at_step(1e-3, 0.9, 0.999, 1e-7, 3));
        for backend in Backend::supported() {
            for len in [0, 1, 70_000, 3 * 32 * 1024 + 17, 3 * 128 * 1024 + 17] {
                let x = numbers(len);
                let work = |threads| {
                    let (team, mut y) = (Team::new(threads), vec![0.0; len]);
                    let backend = backend.on(&team);
                    backend.map_into(Activation::Gelu, &x, &mut y).unwrap();
                    backend.map(Activation::Tanh, &mut y);
                    backend.activation_backward(Activation::Silu, &x, &mut y).unwrap();
                    let (mut p, mut state) = (x.clone(), [&x[..], &y].concat());
                    state[len..].fill(0.25);
                    backend.update(&adam, &y, &mut p, adam.parts(&mut state)).unwrap();
                    [y, p, state].concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
                };
                let (mut y, mut p, mut state) = (vec![0.0; len], x.clone(), vec![0.25; 2 * len]);
                backend.map_into(Activation::Gelu, &x, &mut y).unwrap();
                backend.map(Activation::Tanh, &mut y);
                backend.activation_backward(Activation::Silu, &x, &mut y).unwrap();
                state[..len].copy_from_slice(&x);
                backend.update(&adam, &y, &mut p, adam.parts(&mut state)).unwrap();
                let want: Vec<u32> = [y, p, state].concat().iter().map(|x| x.to_bits()).collect();
                assert!((1..=4).all(|threads| work(threads) == want), "{backend:?}: {len} elements");
            }
        }
    }
}
