//! Products: the library's own API.

use crate::math;
use crate::status::kernels_status::{KERNELS_BUFFER, KERNELS_LAYOUT, KERNELS_OPTION};
use crate::status::{Failure, activation, guard, kernels_status};
use crate::threads::{Setting, kernels_team};
use kernels::{Backend, BatchMut, BatchRef, Bf16, Blocking, Element, Gemm, Layout, MatMut, MatRef, Operand, Packed};
use kernels::{Plan, Precision, Source, Tuning, Workspace};
use std::any::TypeId;
use std::ffi::{CStr, c_char};
use std::slice;

/// A matrix that is read: element (i, j) is data[i * row_stride + j * col_stride]. Strides count elements, and may be 0
/// or negative; an empty matrix needs no data.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kernels_view<T> {
    /// Element (0, 0).
    pub data: *const T,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// From a row to the next.
    pub row_stride: isize,
    /// From a column to the next.
    pub col_stride: isize,
}

/// A matrix that is written, in which no two elements share a place.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kernels_view_mut<T> {
    /// Element (0, 0).
    pub data: *mut T,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// From a row to the next.
    pub row_stride: isize,
    /// From a column to the next.
    pub col_stride: isize,
}

/// How products of fixed layouts are computed, chosen once.
pub struct kernels_plan<T> {
    plan: Plan<T>,
}

/// A or B, packed once for many products. Any number of threads can use it at once.
pub struct kernels_packed<T> {
    packed: Packed<T>,
}

/// Memory for packed panels, in place of a buffer that each thread keeps. Any number of threads can use it at once.
pub struct kernels_workspace {
    workspace: Workspace,
}

/// How exactly a product of f32 matrices is computed; operands, sums and result are f32 in all of them.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kernels_precision {
    /// f32 multiplications: the same bits on every CPU.
    KERNELS_F32 = 0,
    /// As exact as f32, by six bf16 products on a tile unit; where there is none, the same as KERNELS_F32.
    KERNELS_F32_AMX = 1,
    /// Operands of 16 significant bits or a little more: three bf16 products on a tile unit.
    KERNELS_BF16X3 = 2,
    /// Operands of 8 significant bits: one bf16 product on a tile unit.
    KERNELS_BF16 = 3,
}

/// What the element types differ in.
pub trait Number: Element {
    /// What A and B can be made of beside the type itself; the type itself where there is nothing.
    type Other: Source<Self>;
    /// The call in this precision, if the type has it.
    fn precise(call: Gemm<'_, Self>, precision: Precision) -> Option<Gemm<'_, Self>>;
}

impl Number for f32 {
    type Other = Bf16;
    fn precise(call: Gemm<'_, Self>, precision: Precision) -> Option<Gemm<'_, Self>> {
        Some(call.precision(precision))
    }
}

impl Number for f64 {
    type Other = Self;
    fn precise(call: Gemm<'_, Self>, precision: Precision) -> Option<Gemm<'_, Self>> {
        (precision == Precision::F32).then_some(call)
    }
}

/// The settings of C <- activation(alpha A B + beta C + bias). kernels_options_init_f32 (or f64) fills in the defaults:
/// set what differs. Null pointers and zeros are "not set".
///
/// The structure grows at its end in later versions; `size` tells the library which one the program was compiled with.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kernels_options<T> {
    /// sizeof of this structure.
    pub size: usize,
    /// Factor of the product, 1 by default; at 0, A and B are not read.
    pub alpha: T,
    /// Factor of the old C, 0 by default; at 0, C is not read.
    pub beta: T,
    /// Added to each row (n values), or with bias_per_row to each column (m values).
    pub bias: *const T,
    /// How many values there are.
    pub bias_len: usize,
    /// 0, or 1 for one value a row.
    pub bias_per_row: i32,
    /// A kernels_function up to KERNELS_HARD_SWISH, applied last. f64 has KERNELS_IDENTITY and KERNELS_RELU.
    pub activation: i32,
    /// The parameter of leaky ReLU and ELU.
    pub activation_parameter: f32,
    /// A kernels_precision. f64 has KERNELS_F32 alone, the default, which is f64 there.
    pub precision: i32,
    /// Stands in the place of A, whose view is not looked at (and may be null).
    pub packed_a: *const kernels_packed<T>,
    /// Stands in the place of B, whose view is not looked at (and may be null).
    pub packed_b: *const kernels_packed<T>,
    /// How to compute, for calls with the layouts that it was made for; batches do not use it.
    pub plan: *const kernels_plan<T>,
    /// Who computes, in place of the setting of kernels_set_num_threads.
    pub team: *const kernels_team,
    /// Where panels are packed.
    pub workspace: *const kernels_workspace,
    /// Block sizes and thresholds in place of the library's: all values of a line of a profile, in its order.
    pub tuning: *const usize,
    /// How many values there are: as many as this version's profiles have.
    pub tuning_len: usize,
    /// Packs both operands in blocks of this depth and this many columns, where both are set.
    pub block_kc: usize,
    /// See block_kc.
    pub block_nc: usize,
    /// An instruction set by name ("avx512", "amx", "avx2", "neon", "plain"), in place of the one in use.
    pub isa: *const c_char,
    /// 1 where the data of A's view are bf16 numbers (uint16_t, the upper halves of f32 numbers), which its strides
    /// count then; 0 for those of the name. f64 has 0 alone.
    pub bf16_a: i32,
    /// The same of B.
    pub bf16_b: i32,
}

impl<T: Number> kernels_options<T> {
    fn new() -> Self {
        use std::ptr::null;
        Self {
            size: size_of::<Self>(),
            alpha: T::ONE,
            beta: T::ZERO,
            bias: null(),
            bias_len: 0,
            bias_per_row: 0,
            activation: 0,
            activation_parameter: 0.0,
            precision: 0,
            packed_a: null(),
            packed_b: null(),
            plan: null(),
            team: null(),
            workspace: null(),
            tuning: null(),
            tuning_len: 0,
            block_kc: 0,
            block_nc: 0,
            isa: null(),
            bf16_a: 0,
            bf16_b: 0,
        }
    }

    /// Whether A, or else B, is made of bf16 numbers.
    fn bf16(&self, is_a: bool) -> Result<bool, Failure> {
        let (name, value) = if is_a { ("bf16_a", self.bf16_a) } else { ("bf16_b", self.bf16_b) };
        let has = TypeId::of::<T::Other>() != TypeId::of::<T>();
        match value {
            0 => Ok(false),
            1 if has => Ok(true),
            _ => {
                let range = if has { "0 or 1" } else { "0, as it is for double precision" };
                Err(Failure::new(KERNELS_OPTION, format!("{name} is {value}, not {range}")))
            }
        }
    }

    /// The options of a call: those of its program's version, and the defaults of what came later.
    ///
    /// # Safety
    /// Null, or `size` bytes can be read.
    unsafe fn read(options: *const Self) -> Result<Self, Failure> {
        let mut read = Self::new();
        if options.is_null() {
            return Ok(read);
        }
        let ours = size_of::<Self>();
        // SAFETY: the caller's promise; every version has the size first.
        let size = unsafe { (*options).size };
        // The first version is the smallest.
        if size < ours || size > 4096 {
            let why =
                format!("options of {size} bytes, where {ours} are known: was size set, by kernels_options_init?");
            return Err(Failure::new(KERNELS_OPTION, why));
        }
        // SAFETY: the caller's promise.
        let (known, later) = unsafe {
            let start = options.cast::<u8>();
            (options.read(), slice::from_raw_parts(start.add(ours), size - ours))
        };
        if later.iter().any(|&byte| byte != 0) {
            return Err(Failure::new(KERNELS_OPTION, "an option of a later version of the library is set"));
        }
        read = Self { size: ours, ..known };
        Ok(read)
    }

    /// The call.
    ///
    /// # Safety
    /// Every pointer is null or what its documentation says.
    unsafe fn call<'a>(&self, tuning: &'a mut Tuning) -> Result<Gemm<'a, T>, Failure>
    where
        T: 'a,
    {
        let mut call = Gemm::new().alpha(self.alpha).beta(self.beta).par(&Setting);
        if !self.bias.is_null() {
            // SAFETY: the caller's promise.
            let bias = unsafe { math::array("the bias", self.bias, self.bias_len)? };
            call = match self.bias_per_row {
                0 => call.bias(bias),
                1 => call.row_bias(bias),
                other => return Err(Failure::new(KERNELS_OPTION, format!("bias_per_row is {other}, not 0 or 1"))),
            };
        }
        call = call.activation(activation(self.activation, self.activation_parameter)?);
        let precision = usize::try_from(self.precision).ok().and_then(|i| Precision::ALL.get(i));
        call = precision.and_then(|&precision| T::precise(call, precision)).ok_or_else(|| {
            Failure::new(KERNELS_OPTION, format!("there is no precision {} for these elements", self.precision))
        })?;
        // SAFETY: the caller's promise.
        if let Some(team) = unsafe { self.team.as_ref() } {
            call = call.par(team);
        }
        // SAFETY: as above.
        if let Some(plan) = unsafe { self.plan.as_ref() } {
            call = call.plan(&plan.plan);
        }
        // SAFETY: as above.
        if let Some(workspace) = unsafe { self.workspace.as_ref() } {
            call = call.workspace(&workspace.workspace);
        }
        if !self.tuning.is_null() {
            // SAFETY: the caller's promise.
            let values = unsafe { math::array("the tuning", self.tuning, self.tuning_len)? };
            let wrong = |_| {
                let why = format!("a tuning of {} values, not {}", self.tuning_len, Tuning::NAMES.join(", "));
                Failure::new(KERNELS_OPTION, why)
            };
            *tuning = Tuning::from_values(values.try_into().map_err(wrong)?);
            call = call.tuning(tuning);
        }
        match (self.block_kc, self.block_nc) {
            (0, 0) => {}
            (kc, nc) if kc > 0 && nc > 0 => call = call.blocking(Blocking { kc, nc }),
            _ => return Err(Failure::new(KERNELS_OPTION, "only one of block_kc and block_nc is set")),
        }
        if !self.isa.is_null() {
            // SAFETY: the caller's promise: a string.
            let isa = unsafe { CStr::from_ptr(self.isa) }.to_string_lossy();
            call = call.backend(Backend::by_name(&isa)?);
        }
        Ok(call)
    }
}

/// A tuning to be filled in.
const NO_TUNING: Tuning = Tuning::from_values([0; Tuning::NAMES.len()]);

/// Checks a view: what is left to the caller's promise is that the elements are there.
fn checked<T>(
    what: &str, data: *const T, (rows, cols): (usize, usize), (row_stride, col_stride): (isize, isize),
) -> Result<Layout, Failure> {
    let layout = Layout::with_strides(rows, cols, row_stride, col_stride);
    if rows == 0 || cols == 0 {
        return Ok(layout);
    }
    if data.is_null() {
        return Err(Failure::null(what));
    }
    let extent = |size: usize, stride: isize| (size - 1).checked_mul(stride.unsigned_abs());
    let bytes = extent(rows, row_stride)
        .and_then(|r| extent(cols, col_stride)?.checked_add(r)?.checked_add(1)?.checked_mul(size_of::<T>()));
    if bytes.is_none_or(|bytes| isize::try_from(bytes).is_err()) || !data.is_aligned() {
        let why = format!("{what}, {layout}, at {data:p} overflows, or is not aligned");
        return Err(Failure::new(KERNELS_LAYOUT, why));
    }
    Ok(layout)
}

/// The view at `view`, checked.
///
/// # Safety
/// It is null, or points to a view whose elements can be read.
unsafe fn readable<'a, T>(what: &str, view: *const kernels_view<T>) -> Result<MatRef<'a, T>, Failure> {
    // SAFETY: the caller's promise.
    let Some(&kernels_view { data, rows, cols, row_stride, col_stride }) = (unsafe { view.as_ref() }) else {
        return Err(Failure::null(what));
    };
    checked(what, data, (rows, cols), (row_stride, col_stride))?;
    // SAFETY: the caller's promise, and checked.
    Ok(unsafe { MatRef::from_raw(data, rows, cols, row_stride, col_stride) })
}

/// A matrix to be written, whose view was checked.
pub(crate) struct Mutable<T>(kernels_view_mut<T>);

impl<T: Copy> Mutable<T> {
    /// # Safety
    /// It is null, or points to a view.
    pub(crate) unsafe fn checked(what: &str, view: *const kernels_view_mut<T>) -> Result<Self, Failure> {
        // SAFETY: the caller's promise.
        let Some(&view) = (unsafe { view.as_ref() }) else { return Err(Failure::null(what)) };
        let kernels_view_mut { data, rows, cols, row_stride, col_stride } = view;
        let layout = checked(what, data, (rows, cols), (row_stride, col_stride))?;
        layout.check_distinct()?;
        Ok(Self(view))
    }

    /// Elements from the first in memory to the last, both included.
    fn extent(&self) -> usize {
        let kernels_view_mut { rows, cols, row_stride, col_stride, .. } = self.0;
        if rows == 0 || cols == 0 {
            return 0;
        }
        // Found not to overflow.
        (rows - 1) * row_stride.unsigned_abs() + (cols - 1) * col_stride.unsigned_abs() + 1
    }

    /// # Safety
    /// Its elements can be read and written, and are reached through nothing else meanwhile.
    pub(crate) unsafe fn view<'a>(self) -> MatMut<'a, T> {
        let kernels_view_mut { data, rows, cols, row_stride, col_stride } = self.0;
        // SAFETY: the caller's promise, and checked.
        unsafe { MatMut::from_raw(data, rows, cols, row_stride, col_stride) }
    }
}

/// A or B, as the options say: its view and whether that is of bf16 numbers, or its packed matrix.
type Given<T> = (*const kernels_view<T>, bool, *const kernels_packed<T>);

impl<T: Number> kernels_options<T> {
    /// A and B of a call.
    fn given(&self, a: *const kernels_view<T>, b: *const kernels_view<T>) -> Result<[Given<T>; 2], Failure> {
        Ok([(a, self.bf16(true)?, self.packed_a), (b, self.bf16(false)?, self.packed_b)])
    }
}

/// A or B of a call.
///
/// # Safety
/// As [`readable`], for the elements that it has; what is packed is null or a packed matrix.
unsafe fn operand<'a, T: Number>(what: &str, (view, bf16, packed): Given<T>) -> Result<Operand<'a, T>, Failure> {
    // SAFETY: the caller's promise. Views of all elements have the same fields, so that one can be read as another.
    match unsafe { packed.as_ref() } {
        Some(packed) => Ok((&packed.packed).into()),
        // SAFETY: as above.
        None if bf16 => Ok(unsafe { readable::<T::Other>(what, view.cast()) }?.into()),
        // SAFETY: as above.
        None => Ok(unsafe { readable(what, view) }?.into()),
    }
}

/// The Rust call, which is inlined where it stands, once for all that can spare some nanoseconds.
#[inline(never)]
pub(crate) fn product<T: Element>(
    call: &Gemm<'_, T>, a: Operand<'_, T>, b: Operand<'_, T>, c: MatMut<'_, T>,
) -> kernels::Result<()> {
    call.run(a, b, c)
}

/// # Safety
/// As [`kernels_gemm_f32`].
unsafe fn gemm<T: Number>(
    a: *const kernels_view<T>, b: *const kernels_view<T>, c: *const kernels_view_mut<T>, o: *const kernels_options<T>,
) -> kernels_status {
    guard(|| {
        let mut tuning = NO_TUNING;
        // SAFETY: the caller's promise.
        unsafe {
            let o = kernels_options::read(o)?;
            let call = o.call(&mut tuning)?;
            let [a, b] = o.given(a, b)?;
            let (a, b) = (operand("A", a)?, operand("B", b)?);
            Ok(product(&call, a, b, Mutable::checked("C", c)?.view())?)
        }
    })
}

/// # Safety
/// As [`kernels_gemm_batch_f32`].
unsafe fn batch<T: Number>(
    count: usize, (a, stride_a): (*const kernels_view<T>, usize), (b, stride_b): (*const kernels_view<T>, usize),
    (c, stride_c): (*const kernels_view_mut<T>, usize), o: *const kernels_options<T>,
) -> kernels_status
where
    for<'a> BatchRef<'a, T>: From<BatchRef<'a, T::Other>>,
{
    /// # Safety
    /// As [`operand`], for each of the matrices.
    unsafe fn matrices<'a, T: Number>(
        what: &str, count: usize, stride: usize, (view, bf16, _): Given<T>,
    ) -> Result<BatchRef<'a, T>, Failure>
    where
        BatchRef<'a, T>: From<BatchRef<'a, T::Other>>,
    {
        // SAFETY: as in `operand`.
        unsafe {
            if bf16 {
                return Ok(BatchRef::from_raw(readable::<T::Other>(what, view.cast())?, count, stride).into());
            }
            Ok(BatchRef::from_raw(readable(what, view)?, count, stride))
        }
    }
    guard(|| {
        let mut tuning = NO_TUNING;
        // SAFETY: the caller's promise.
        let (o, c) = unsafe { (kernels_options::read(o)?, Mutable::checked("C", c)?) };
        let [a, b] = o.given(a, b)?;
        // SAFETY: the caller's promise.
        let call = unsafe { o.call(&mut tuning) }?;
        if !o.packed_a.is_null() || !o.packed_b.is_null() {
            return Err(Failure::new(KERNELS_OPTION, "a batch takes no packed operands"));
        }
        for (what, stride) in [("A", stride_a), ("B", stride_b), ("C", stride_c)] {
            let bytes = count.checked_mul(stride).and_then(|last| last.checked_mul(size_of::<T>()));
            if bytes.is_none_or(|bytes| isize::try_from(bytes).is_err()) {
                let why = format!("{count} matrices {what}, {stride} apart, overflow");
                return Err(Failure::new(KERNELS_LAYOUT, why));
            }
        }
        if count > 1 && stride_c < c.extent() {
            let why = format!(
                "{count} matrices C, each {} elements from first to last, overlap {stride_c} apart",
                c.extent()
            );
            return Err(Failure::new(KERNELS_LAYOUT, why));
        }
        // SAFETY: the caller's promise, and checked.
        unsafe {
            let (a, b) = (matrices("A", count, stride_a, a)?, matrices("B", count, stride_b, b)?);
            Ok(call.run_batch(a, b, BatchMut::from_raw(c.view(), count, stride_c))?)
        }
    })
}

/// # Safety
/// As [`kernels_plan_create_f32`].
unsafe fn plan<T: Number>(
    a: *const kernels_view<T>, b: *const kernels_view<T>, c: *const kernels_view_mut<T>, o: *const kernels_options<T>,
    made: *mut *mut kernels_plan<T>,
) -> kernels_status {
    guard(|| {
        let mut tuning = NO_TUNING;
        if made.is_null() {
            return Err(Failure::null("the place of the plan"));
        }
        // SAFETY: the caller's promise.
        unsafe {
            let o = kernels_options::read(o)?;
            let (a, b, c) = layouts(a, b, c, &o)?;
            let plan = o.call(&mut tuning)?.prepare(a, b, c)?;
            *made = Box::into_raw(Box::new(kernels_plan { plan }));
        }
        Ok(())
    })
}

/// The layouts of a call, whose data need not be there.
///
/// # Safety
/// Each pointer is null or what it says.
unsafe fn layouts<T: Number>(
    a: *const kernels_view<T>, b: *const kernels_view<T>, c: *const kernels_view_mut<T>, o: &kernels_options<T>,
) -> Result<(Layout, Layout, Layout), Failure> {
    let of = |what, (view, bf16, packed): Given<T>| {
        // SAFETY: the caller's promise.
        let (view, packed) = unsafe { (view.as_ref(), packed.as_ref()) };
        match (packed, view) {
            (Some(packed), _) => Ok(packed.packed.layout()),
            (None, Some(v)) => {
                let layout = Layout::with_strides(v.rows, v.cols, v.row_stride, v.col_stride);
                Ok(if bf16 { layout.bf16() } else { layout })
            }
            (None, None) => Err(Failure::null(what)),
        }
    };
    let [a, b] = o.given(a, b)?;
    // Both kinds of views have the same fields.
    Ok((of("A", a)?, of("B", b)?, of("C", (c.cast(), false, std::ptr::null()))?))
}

/// Packs A, or else B.
fn one_side<T: Number, X: Source<T>>(call: &Gemm<'_, T>, is_a: bool, x: MatRef<'_, X>) -> kernels::Result<Packed<T>> {
    if is_a { call.pack_a(x) } else { call.pack_b(x) }
}

/// # Safety
/// As [`kernels_pack_a_f32`].
unsafe fn pack<T: Number>(
    is_a: bool, x: *const kernels_view<T>, o: *const kernels_options<T>, made: *mut *mut kernels_packed<T>,
) -> kernels_status {
    guard(|| {
        let mut tuning = NO_TUNING;
        if made.is_null() {
            return Err(Failure::null("the place of the packed matrix"));
        }
        // SAFETY: the caller's promise.
        unsafe {
            let o = kernels_options::read(o)?;
            let call = o.call(&mut tuning)?;
            let packed = if o.bf16(is_a)? {
                one_side(&call, is_a, readable::<T::Other>("the matrix", x.cast())?)
            } else {
                one_side(&call, is_a, readable("the matrix", x)?)
            }?;
            *made = Box::into_raw(Box::new(kernels_packed { packed }));
        }
        Ok(())
    })
}

/// # Safety
/// As [`kernels_explain_f32`].
unsafe fn explain<T: Number>(
    a: *const kernels_view<T>, b: *const kernels_view<T>, c: *const kernels_view_mut<T>, o: *const kernels_options<T>,
    buffer: *mut c_char, capacity: usize,
) -> kernels_status {
    guard(|| {
        let mut tuning = NO_TUNING;
        // SAFETY: the caller's promise.
        let text = unsafe {
            let o = kernels_options::read(o)?;
            let (a, b, c) = layouts(a, b, c, &o)?;
            o.call(&mut tuning)?.explain_layouts(a, b, c)?.to_string()
        };
        math::check("the buffer", buffer, capacity)?;
        let kept = text.len().min(capacity.saturating_sub(1));
        if capacity > 0 {
            // SAFETY: the caller's promise: there is room for `capacity` bytes, and `kept` is less.
            unsafe {
                buffer.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), kept);
                buffer.add(kept).write(0);
            }
        }
        if kept < text.len() {
            let why = format!("the text has {} bytes with its NUL, the buffer {capacity}", text.len() + 1);
            return Err(Failure::new(KERNELS_BUFFER, why));
        }
        Ok(())
    })
}

/// Ends what a create or pack function made.
///
/// # Safety
/// Null, or from that function, and not used again.
unsafe fn destroy<T>(handle: *mut T) {
    guard(|| {
        if !handle.is_null() {
            // SAFETY: the caller's promise: it is the box that was given out.
            drop(unsafe { Box::from_raw(handle) });
        }
        Ok(())
    });
}

/// # Safety
/// As [`kernels_options_init_f32`].
unsafe fn init<T: Number>(options: *mut kernels_options<T>, size: usize) -> kernels_status {
    guard(|| {
        if options.is_null() {
            return Err(Failure::null("the options"));
        }
        let ours = size_of::<kernels_options<T>>();
        let new = kernels_options { size, ..kernels_options::<T>::new() };
        // SAFETY: the caller's promise: `size` bytes can be written. What a later version has beyond ours is not set.
        unsafe {
            options.cast::<u8>().write_bytes(0, size);
            options.cast::<u8>().copy_from_nonoverlapping((&raw const new).cast(), size.min(ours));
        }
        Ok(())
    })
}

/// The defaults: C <- A B. `size` is sizeof of the structure that the program was compiled with.
///
/// # Safety
/// `options` is null, or `size` bytes can be written there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_options_init_f32(options: *mut kernels_options<f32>, size: usize) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { init(options, size) }
}

/// As kernels_options_init_f32.
///
/// # Safety
/// As kernels_options_init_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_options_init_f64(options: *mut kernels_options<f64>, size: usize) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { init(options, size) }
}

/// C <- activation(alpha A B + beta C + bias), for A (m x k), B (k x n) and C (m x n) of any strides. Null options are
/// the defaults: C <- A B.
///
/// # Safety
/// Each pointer is null or points to what it says; the elements of A and B (unless alpha is 0) and the bias can be
/// read, those of C written, and read unless beta is 0; C overlaps nothing else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_gemm_f32(
    a: *const kernels_view<f32>, b: *const kernels_view<f32>, c: *const kernels_view_mut<f32>,
    options: *const kernels_options<f32>,
) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { gemm(a, b, c, options) }
}

/// As kernels_gemm_f32.
///
/// # Safety
/// As kernels_gemm_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_gemm_f64(
    a: *const kernels_view<f64>, b: *const kernels_view<f64>, c: *const kernels_view_mut<f64>,
    options: *const kernels_options<f64>,
) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { gemm(a, b, c, options) }
}

/// `count` products of the same settings: matrix i begins i * stride elements after the first, which the view
/// describes. A stride of 0 is one A (or B) for all. Each C ends before the next begins. Options with packed operands
/// are refused.
///
/// # Safety
/// As kernels_gemm_f32, for each product.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_gemm_batch_f32(
    count: usize, a: *const kernels_view<f32>, stride_a: usize, b: *const kernels_view<f32>, stride_b: usize,
    c: *const kernels_view_mut<f32>, stride_c: usize, options: *const kernels_options<f32>,
) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { batch(count, (a, stride_a), (b, stride_b), (c, stride_c), options) }
}

/// As kernels_gemm_batch_f32.
///
/// # Safety
/// As kernels_gemm_batch_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_gemm_batch_f64(
    count: usize, a: *const kernels_view<f64>, stride_a: usize, b: *const kernels_view<f64>, stride_b: usize,
    c: *const kernels_view_mut<f64>, stride_c: usize, options: *const kernels_options<f64>,
) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { batch(count, (a, stride_a), (b, stride_b), (c, stride_c), options) }
}

/// Chooses how to compute products of these layouts, for the field `plan` of options: with the instruction set, tuning,
/// blocks and number of threads of these options, for any factors, bias and activation. The data of the views is not
/// looked at.
///
/// # Safety
/// Each pointer is null or points to what it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_plan_create_f32(
    a: *const kernels_view<f32>, b: *const kernels_view<f32>, c: *const kernels_view_mut<f32>,
    options: *const kernels_options<f32>, plan: *mut *mut kernels_plan<f32>,
) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { self::plan(a, b, c, options, plan) }
}

/// As kernels_plan_create_f32.
///
/// # Safety
/// As kernels_plan_create_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_plan_create_f64(
    a: *const kernels_view<f64>, b: *const kernels_view<f64>, c: *const kernels_view_mut<f64>,
    options: *const kernels_options<f64>, plan: *mut *mut kernels_plan<f64>,
) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { self::plan(a, b, c, options, plan) }
}

/// Ends a plan, which no call uses any more. Null is ignored.
///
/// # Safety
/// It comes from kernels_plan_create_f32, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_plan_destroy_f32(plan: *mut kernels_plan<f32>) {
    // SAFETY: the caller's promise.
    unsafe { destroy(plan) }
}

/// As kernels_plan_destroy_f32.
///
/// # Safety
/// As kernels_plan_destroy_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_plan_destroy_f64(plan: *mut kernels_plan<f64>) {
    // SAFETY: the caller's promise.
    unsafe { destroy(plan) }
}

/// Packs an A (m x k), for the field `packed_a` of options. Of these options the instruction set, the precision and
/// bf16_a count.
///
/// # Safety
/// Each pointer is null or points to what it says; the elements of A can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_pack_a_f32(
    a: *const kernels_view<f32>, options: *const kernels_options<f32>, packed: *mut *mut kernels_packed<f32>,
) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { pack(true, a, options, packed) }
}

/// As kernels_pack_a_f32.
///
/// # Safety
/// As kernels_pack_a_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_pack_a_f64(
    a: *const kernels_view<f64>, options: *const kernels_options<f64>, packed: *mut *mut kernels_packed<f64>,
) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { pack(true, a, options, packed) }
}

/// Packs a B (k x n), for the field `packed_b` of options. Of these options the instruction set, the precision and
/// bf16_b count.
///
/// # Safety
/// Each pointer is null or points to what it says; the elements of B can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_pack_b_f32(
    b: *const kernels_view<f32>, options: *const kernels_options<f32>, packed: *mut *mut kernels_packed<f32>,
) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { pack(false, b, options, packed) }
}

/// As kernels_pack_b_f32.
///
/// # Safety
/// As kernels_pack_b_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_pack_b_f64(
    b: *const kernels_view<f64>, options: *const kernels_options<f64>, packed: *mut *mut kernels_packed<f64>,
) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { pack(false, b, options, packed) }
}

/// Ends a packed matrix, which no call uses any more. Null is ignored.
///
/// # Safety
/// It comes from kernels_pack_a_f32 or kernels_pack_b_f32, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_packed_destroy_f32(packed: *mut kernels_packed<f32>) {
    // SAFETY: the caller's promise.
    unsafe { destroy(packed) }
}

/// As kernels_packed_destroy_f32.
///
/// # Safety
/// As kernels_packed_destroy_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_packed_destroy_f64(packed: *mut kernels_packed<f64>) {
    // SAFETY: the caller's promise.
    unsafe { destroy(packed) }
}

/// Writes into `buffer` how a product of these layouts would be computed, and why: text with a NUL. KERNELS_BUFFER
/// where it has less than all of it; the message tells how much that is. The data of the views is not looked at.
///
/// # Safety
/// Each pointer is null or points to what it says; `capacity` bytes of `buffer` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_explain_f32(
    a: *const kernels_view<f32>, b: *const kernels_view<f32>, c: *const kernels_view_mut<f32>,
    options: *const kernels_options<f32>, buffer: *mut c_char, capacity: usize,
) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { explain(a, b, c, options, buffer, capacity) }
}

/// As kernels_explain_f32.
///
/// # Safety
/// As kernels_explain_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_explain_f64(
    a: *const kernels_view<f64>, b: *const kernels_view<f64>, c: *const kernels_view_mut<f64>,
    options: *const kernels_options<f64>, buffer: *mut c_char, capacity: usize,
) -> kernels_status {
    // SAFETY: the caller's promise.
    unsafe { explain(a, b, c, options, buffer, capacity) }
}

/// Makes an empty workspace, for the field `workspace` of options.
///
/// # Safety
/// `workspace` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_workspace_create(workspace: *mut *mut kernels_workspace) -> kernels_status {
    guard(|| {
        if workspace.is_null() {
            return Err(Failure::null("the place of the workspace"));
        }
        let made = kernels_workspace { workspace: Workspace::new() };
        // SAFETY: the caller's promise.
        unsafe { *workspace = Box::into_raw(Box::new(made)) };
        Ok(())
    })
}

/// Ends a workspace, which no call uses any more. Null is ignored.
///
/// # Safety
/// It comes from kernels_workspace_create, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_workspace_destroy(workspace: *mut kernels_workspace) {
    // SAFETY: the caller's promise.
    unsafe { destroy(workspace) }
}
