//! Functions of each number, or of each row, of a matrix.

use super::{Call, Case, Operation, Start, uniform};
use crate::contender::Contender;
use crate::naive;
use crate::verify::Oracle;
use kernels::{MatMut, reference};
use std::fmt;
use std::str::FromStr;

/// Which function a [`Function`] computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Functions {
    /// One of each number.
    Each(kernels::Function),
    /// e^x over the sum of e^x along the row.
    Softmax,
}

impl Functions {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        kernels::Function::ALL.into_iter().map(Self::Each).chain([Self::Softmax])
    }

    /// Its name, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Each(f) => f.name(),
            Self::Softmax => "softmax",
        }
    }
}

impl FromStr for Functions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        by_name(text, Self::all(), Self::name)
    }
}

/// Which of these functions has this name.
///
/// # Errors
/// None has: what the names are.
pub fn by_name<F: Copy>(
    text: &str,
    mut functions: impl Iterator<Item = F> + Clone,
    name: fn(F) -> &'static str,
) -> Result<F, String> {
    let names = functions.clone().map(name);
    functions
        .find(|&f| name(f) == text)
        .ok_or_else(|| format!("the functions are {}", names.collect::<Vec<_>>().join(", ")))
}

/// A function of each number of a matrix, or of each row.
pub struct Function {
    function: Functions,
    rows: usize,
    cols: usize,
    input: Vec<f32>,
    oracle: Oracle,
}

impl Function {
    /// `function` of a `rows` x `cols` matrix of numbers from where the function is of interest.
    pub fn new(function: Functions, rows: usize, cols: usize) -> Self {
        use kernels::Function as F;
        let range = match function {
            // All that has a normal, finite result.
            Functions::Each(F::Exp) => -87.0..88.0,
            Functions::Each(F::Exp2) => -126.0..127.0,
            Functions::Each(F::Ln | F::Log1p) => 1e-3..1e3,
            Functions::Each(F::Erf) => -4.0..4.0,
            _ => -10.0..10.0,
        };
        let input = uniform(rows * cols, range, 3);
        let x: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
        let oracle = Oracle::function(match function {
            Functions::Each(f) => x.iter().map(|&x| reference::function(f, x)).collect(),
            Functions::Softmax => {
                let softmax = |row: &[f64]| {
                    let e: Vec<f64> = row.iter().map(|x| x.exp()).collect();
                    let sum: f64 = e.iter().sum();
                    e.into_iter().map(move |e| e / sum)
                };
                x.chunks(cols).flat_map(softmax).collect()
            }
        });
        Self { function, rows, cols, input, oracle }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.function {
            Functions::Each(function) => write!(f, "{} {}", function.name(), self.rows * self.cols),
            Functions::Softmax => write!(f, "softmax {}x{}", self.rows, self.cols),
        }
    }
}

impl Case for Function {
    fn operations(&self) -> f64 {
        self.input.len() as f64
    }

    fn bytes(&self) -> f64 {
        let passes = match self.function {
            Functions::Each(_) => 2,
            // In place.
            Functions::Softmax => 1,
        };
        (passes * self.input.len() * size_of::<f32>()) as f64
    }

    fn operation(&self) -> Operation {
        Operation::Element
    }

    fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// Rows keep what they claim; of naive loops, whose relative error in the tails has no limit, a number is asked.
    fn bound(&self, who: Contender) -> f64 {
        match (self.function, who.backend()) {
            (Functions::Each(f), Some(row)) => {
                if row.bits_match() {
                    f.bound()
                } else {
                    f.plain_bound()
                }
            }
            (Functions::Each(_), None) => f64::INFINITY,
            // Plain f32 code errs, in units of 2^-24 (an ULP or half of one), by the rounding of x - max (at most
            // 20) and by 2 in e^x, above and below the fraction, by 1 per addend and by 1 in the division.
            (Functions::Softmax, _) => 2.0 * (20.0 + 2.0) + self.cols as f64 + 1.0,
        }
    }

    fn start(&self) -> Start<'_> {
        match self.function {
            Functions::Each(_) => Start::Unread(self.input.len()),
            Functions::Softmax => Start::Input(&self.input),
        }
    }

    fn call(&self, who: Contender) -> Option<Call<'_>> {
        let Self { function, rows, cols, ref input, .. } = *self;
        Some(match (function, who) {
            (Functions::Each(f), Contender::NaiveLoop) => {
                let map = naive::function(f);
                Box::new(move |y| {
                    map(input, y);
                    Ok(())
                })
            }
            (Functions::Softmax, Contender::NaiveLoop) => Box::new(move |x| {
                x.chunks_exact_mut(cols).for_each(naive::softmax);
                Ok(())
            }),
            (Functions::Each(f), Contender::Row(backend)) => Box::new(move |y| backend.map_into(f, input, y)),
            (Functions::Softmax, Contender::Row(backend)) => Box::new(move |x| {
                backend.softmax(MatMut::new(x, rows, cols)?);
                Ok(())
            }),
            _ => return None,
        })
    }
}
