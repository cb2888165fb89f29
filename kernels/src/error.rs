//! The one error type of the crate. Every variant carries the numbers that were wrong.

use std::fmt;

/// Why a call was refused. Nothing has been written when a call returns one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A matrix has another shape than the call needs (rows, columns).
    Shape {
        /// Which operand.
        what: &'static str,
        /// The shape the other operands ask for.
        expected: (usize, usize),
        /// The shape that was given.
        found: (usize, usize),
    },
    /// A slice has another length than the call needs.
    Length {
        /// Which operand.
        what: &'static str,
        /// The length the other operands ask for.
        expected: usize,
        /// The length that was given.
        found: usize,
    },
    /// A slice has more or fewer elements than a dense matrix.
    Dense {
        /// Length of the slice.
        len: usize,
        /// Rows and columns of the matrix.
        shape: (usize, usize),
    },
    /// A view reaches past the end of its slice, or its extent overflows.
    OutOfBounds {
        /// Length of the slice, in elements.
        len: usize,
        /// Rows and columns of the view.
        shape: (usize, usize),
        /// Row and column stride of the view, in elements.
        strides: (usize, usize),
    },
    /// Two elements of a mutable view would share one place in memory.
    Overlap {
        /// Rows and columns of the view.
        shape: (usize, usize),
        /// Row and column stride of the view, in elements.
        strides: (usize, usize),
    },
    /// The matrices of a batch reach past the end of their slice, or their extent overflows.
    BatchOutOfBounds {
        /// Length of the slice, in elements.
        len: usize,
        /// How many matrices there are.
        count: usize,
        /// Rows and columns of each.
        shape: (usize, usize),
        /// From the beginning of one to that of the next, in elements.
        stride: usize,
    },
    /// Matrices of a batch that are to be written would share elements.
    BatchOverlap {
        /// How many matrices there are.
        count: usize,
        /// Rows and columns of each.
        shape: (usize, usize),
        /// From the beginning of one to that of the next, in elements.
        stride: usize,
    },
    /// A product of a batch of different matrices is wrong.
    Product {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        error: Box<Self>,
    },
    /// There is no memory for a packed matrix, or its size overflows.
    Memory {
        /// Which operand.
        what: &'static str,
        /// Rows and columns of the matrix.
        shape: (usize, usize),
    },
    /// A matrix has too few or too many columns for a function of its rows.
    Width {
        /// Which operand.
        what: &'static str,
        /// The columns that were given.
        found: usize,
        /// The most that there may be; one is the least.
        most: usize,
    },
    /// A sub-matrix does not lie inside its matrix.
    Range {
        /// `"rows"` or `"columns"`.
        what: &'static str,
        /// First index asked for.
        start: usize,
        /// One past the last index asked for.
        end: usize,
        /// How many there are.
        size: usize,
    },
    /// Elements of a row are not adjacent where a call needs them so.
    Columns {
        /// Which operand.
        what: &'static str,
        /// The distance from one column to the next, in elements.
        stride: isize,
    },
    /// A product of this element type has no such activation.
    Activation {
        /// The activation, as it was given.
        asked: String,
        /// The element type.
        element: &'static str,
    },
    /// An operand lies otherwise than the plan of the call was made for, or the call is to run on another backend.
    Plan {
        /// Which operand, or `"the backend"`.
        what: &'static str,
        /// The layout, or the backend, of the plan.
        planned: String,
        /// What was given.
        found: String,
    },
    /// A packed matrix stands on the wrong side of a product, or belongs to another backend.
    Packed {
        /// What it was packed for.
        packed: String,
        /// What the call needs.
        needed: String,
    },
    /// A profile can't be used.
    Profile {
        /// The file, the line, or both.
        place: String,
        /// What is wrong there.
        why: String,
    },
    /// A class label is not below the number of classes.
    Label {
        /// Row of the label.
        row: usize,
        /// The label.
        label: u32,
        /// Number of classes, the columns of the logits.
        classes: usize,
    },
    /// `KERNELS_ISA` names a row that does not exist or that this CPU can't run.
    Isa {
        /// The value of the variable, or the name asked for.
        asked: String,
        /// The rows that can be chosen here.
        supported: Vec<&'static str>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape { what, expected: (er, ec), found: (r, c) } => {
                write!(f, "{what} is {r}x{c}, but the other operands need {er}x{ec}")
            }
            Self::Length { what, expected, found } => {
                write!(f, "{what} has length {found}, but the other operands need {expected}")
            }
            Self::Dense { len, shape: (r, c) } => {
                write!(f, "a slice of length {len} is not that of a dense {r}x{c} matrix")
            }
            Self::OutOfBounds { len, shape: (r, c), strides: (rs, cs) } => {
                write!(f, "a {r}x{c} view with strides ({rs}, {cs}) does not fit a slice of length {len}")
            }
            Self::Overlap { shape: (r, c), strides: (rs, cs) } => {
                write!(f, "elements of a mutable {r}x{c} view with strides ({rs}, {cs}) overlap")
            }
            Self::BatchOutOfBounds { len, count, shape: (r, c), stride } => {
                write!(
                    f,
                    "a batch of {count} matrices, each {r}x{c}, {stride} apart, does not fit a slice of length {len}"
                )
            }
            Self::BatchOverlap { count, shape: (r, c), stride } => {
                write!(f, "matrices of a mutable batch of {count}, each {r}x{c}, {stride} apart, overlap")
            }
            Self::Product { index, error } => write!(f, "product {index} of the batch: {error}"),
            Self::Memory { what, shape: (r, c) } => write!(f, "there is no memory for a packed {what} of {r}x{c}"),
            Self::Width { what, found, most } => {
                write!(f, "{what} has {found} columns, but needs from 1 to {most}")
            }
            Self::Range { what, start, end, size } => {
                write!(f, "{what} {start}..{end} do not lie in a matrix with {size} {what}")
            }
            Self::Columns { what, stride } => {
                write!(f, "the columns of {what} are {stride} apart, but must be adjacent")
            }
            Self::Activation { asked, element } => {
                write!(f, "products of {element} take no activation {asked}, only identity and relu")
            }
            Self::Plan { what, planned, found } => {
                write!(f, "{what} is {found}, but the plan was made for {planned}")
            }
            Self::Packed { packed, needed } => {
                write!(f, "a matrix was packed for {packed}, but the call needs it for {needed}")
            }
            Self::Profile { place, why } => write!(f, "{place}: {why}"),
            Self::Label { row, label, classes } => {
                write!(f, "label {label} of row {row} is not below the {classes} classes")
            }
            Self::Isa { asked, supported } => write!(
                f,
                "instruction set \"{asked}\" is not available on this CPU; KERNELS_ISA can be one of: {}",
                supported.join(", ")
            ),
        }
    }
}

impl std::error::Error for Error {}

/// Short for `Result<T, kernels::Error>`.
pub type Result<T> = std::result::Result<T, Error>;
