//! Sizes and strides that safe views allow and no memory has.

use kernels::{Activation, Backend, BatchMut, BatchRef, Error, Gemm, MatMut, MatRef, Profile, Team, Tuning};

/// None of these is reached by an element, or has one.
#[test]
fn strides_and_sizes_without_elements() {
    const BIG: usize = isize::MAX as usize;
    const ALL: usize = usize::MAX;
    let backend = Backend::active().unwrap();
    let product = |a: MatRef<'_, f32>, b: MatRef<'_, f32>| {
        let (m, n) = (a.rows(), b.cols());
        let mut c = vec![0.0; m * n];
        Gemm::new().run(a, b, MatMut::new(&mut c, m, n).unwrap()).unwrap();
        c
    };
    let ones = [1.0; 200];
    let view = |rows, cols, row, col| MatRef::with_strides(&ones[..], rows, cols, row, col).unwrap();
    assert_eq!(product(view(1, 2, BIG, 1), view(2, 1, 1, 1)), [2.0]);
    assert_eq!(product(view(1, 2, BIG, 1), view(2, 8, 8, 1)), [2.0; 8]);
    assert_eq!(product(view(100, 1, 1, BIG), view(1, 100, 1, 1)), [1.0; 10_000]);
    assert_eq!(product(view(100, 1, 1, 1), view(1, 100, BIG, 1)), [1.0; 10_000]);
    let sizes = 1 << 62;
    Gemm::<f32>::new().par(&Team::new(2)).explain(sizes, sizes, sizes).unwrap();

    let gemm = Gemm::<f32>::new();
    assert_eq!(gemm.pack_b(MatRef::<f32>::new(&[], 0, ALL).unwrap()).unwrap().shape(), (0, ALL));
    assert_eq!(gemm.pack_a(MatRef::<f32>::new(&[], ALL, 0).unwrap()).unwrap().shape(), (ALL, 0));
    // Nor any of the other kind.
    assert_eq!(gemm.pack_a(MatRef::<f32>::new(&[], 0, ALL).unwrap()).unwrap().shape(), (0, ALL));
    assert_eq!(gemm.pack_b(MatRef::<f32>::new(&[], ALL, 0).unwrap()).unwrap().shape(), (ALL, 0));
    // There is one element, but panels would be of 2^50.
    let huge = MatRef::with_strides(&[1.0], 1 << 30, 1 << 20, 0, 0).unwrap();
    for (packed, name) in [(gemm.pack_a(huge), "A"), (gemm.pack_b(huge), "B")] {
        let error = packed.unwrap_err().to_string();
        assert_eq!(error, format!("there is no memory for a packed {name} of 1073741824x1048576"));
    }

    for (rows, cols) in [(ALL, 0), (0, ALL)] {
        backend.softmax(MatMut::new(&mut [], rows, cols).unwrap());
        backend.log_softmax(MatMut::col_major(&mut [], rows, cols).unwrap());
        backend.map_matrix(Activation::Relu, MatMut::new(&mut [], rows, cols).unwrap());
        backend.map_matrix(Activation::Relu, MatMut::col_major(&mut [], rows, cols).unwrap());
    }
    backend.add_bias(&[], MatMut::new(&mut [], ALL, 0).unwrap()).unwrap();
    backend.softmax(MatMut::with_strides(&mut [], 3, 0, BIG, 1).unwrap());
    let mut sums = [1.0; 3];
    backend.row_sums(MatRef::with_strides(&[], 3, 0, BIG, 1).unwrap(), &mut sums).unwrap();
    assert_eq!(sums, [0.0; 3]);
    backend.row_sums(MatRef::col_major(&[], 0, ALL).unwrap(), &mut []).unwrap();

    let empty = |count, stride| BatchMut::<f32>::strided(&mut [], count, stride, 0, 4).unwrap();
    for (count, stride) in [(ALL, 0), (3, ALL)] {
        let (a, b) = (MatRef::<f32>::new(&[], 0, 2).unwrap(), MatRef::new(&ones[..8], 2, 4).unwrap());
        gemm.run_batch(a, b, empty(count, stride)).unwrap();
    }
    let mut c = [1.0; 3];
    let a = BatchRef::<f32>::strided(&[], 3, ALL, 1, 0).unwrap();
    gemm.run_batch(a, MatRef::<f32>::new(&[], 0, 1).unwrap(), BatchMut::strided(&mut c, 3, 1, 1, 1).unwrap()).unwrap();
    assert_eq!(c, [0.0; 3]);
}

#[test]
fn what_an_index_cannot_count_is_refused() {
    let wide = MatRef::with_strides(&[1.0], 1, (1 << 32) + 1, 0, 0).unwrap();
    let error = Backend::active().unwrap().row_argmax(wide, &mut [0]).unwrap_err();
    assert_eq!(error.to_string(), "the matrix of argmax has 4294967297 columns, but needs from 1 to 4294967296");
    let none = MatRef::new(&[], 1, 0).unwrap();
    let error = Backend::active().unwrap().row_argmax(none, &mut [0]).unwrap_err();
    assert_eq!(error.to_string(), "the matrix of argmax has 0 columns, but needs from 1 to 4294967296");
}

/// It says that it is empty, and never ends.
#[cfg(target_os = "linux")]
#[test]
fn a_profile_without_end_is_refused() {
    let error = Profile::load("/proc/self/pagemap").unwrap_err().to_string();
    assert!(error.contains("/proc/self/pagemap"), "{error}");
}

/// As the table of special rows has it.
#[test]
fn functions_of_rows_without_rows_or_elements() {
    for backend in Backend::supported() {
        for (rows, cols) in [(0, 0), (0, 3), (2, 0)] {
            let what = format!("{backend:?}: {rows}x{cols}");
            // Elements that are not there need not be adjacent either.
            for columns in [false, true] {
                let make = if columns { MatMut::col_major } else { MatMut::new };
                let view = || make(&mut [], rows, cols).unwrap();
                backend.softmax(view());
                backend.log_softmax(view());
                backend.map_matrix(Activation::Tanh, view());
                backend.add_bias(&vec![1.0; cols], view()).unwrap();
                let mut losses = vec![5.0; rows];
                let entropy = backend.softmax_cross_entropy(view(), &vec![0; rows], 1.0, &mut losses);
                match rows {
                    0 => entropy.unwrap(),
                    _ => assert_eq!(entropy.unwrap_err(), Error::Label { row: 0, label: 0, classes: 0 }, "{what}"),
                }
                assert_eq!(losses, vec![5.0; rows], "{what}");

                let mut scales = vec![5.0; rows];
                let (gain, bias) = (vec![1.0; cols], vec![2.0; cols]);
                backend.layer_norm(view(), &gain, &bias, 0.25, view(), &mut scales).unwrap();
                assert_eq!(scales, vec![2.0; rows], "{what}: 1 / sqrt(0 + epsilon)");
                let (mut d_gain, mut d_bias) = (vec![5.0; cols], vec![5.0; cols]);
                let normal = view();
                let normal = normal.as_ref();
                backend.layer_norm_backward(normal, &scales, &gain, view(), &mut d_gain, &mut d_bias).unwrap();
                assert_eq!([d_gain, d_bias].concat(), vec![0.0; 2 * cols], "{what}");

                let mut sums = vec![5.0; cols];
                backend.column_sums(normal, &mut sums).unwrap();
                assert_eq!(sums, vec![0.0; cols], "{what}");
                let mut out = vec![5.0; rows];
                for (of, reduced) in [
                    (Backend::row_sums as fn(&Backend, MatRef<'_, f32>, &mut [f32]) -> kernels::Result<()>, 0.0),
                    (Backend::row_max, -f32::INFINITY),
                    (Backend::log_sum_exp, -f32::INFINITY),
                ] {
                    of(backend, normal, &mut out).unwrap();
                    assert_eq!(out, vec![reduced; rows], "{what}");
                }
                assert_eq!(backend.row_argmax(normal, &mut vec![5; rows]).is_ok(), rows == 0, "{what}");
            }
        }
    }
}

/// A profile, or a call, may have any values.
#[test]
fn no_tuning_changes_a_result() {
    let numbers = |len: usize| -> Vec<f32> { (0..len).map(|i| (i * 37 % 101) as f32 / 64.0 - 0.75).collect() };
    let team = Team::new(2);
    for (m, k, n) in [(1, 300, 300), (3, 64, 40), (20, 300, 200), (300, 300, 300)] {
        let (a, b) = (numbers(m * k), numbers(k * n));
        let a = MatRef::new(&a, m, k).unwrap();
        for b in [MatRef::new(&b, k, n).unwrap(), MatRef::col_major(&b, k, n).unwrap()] {
            for backend in Backend::supported() {
                let mut want = vec![0.0; m * n];
                let call = Gemm::new().backend(backend);
                call.run(a, b, MatMut::new(&mut want, m, n).unwrap()).unwrap();
                for value in [0, usize::MAX] {
                    let (tuning, mut c) = (Tuning::from_values([value; 6]), vec![0.0; m * n]);
                    call.tuning(&tuning).par(&team).run(a, b, MatMut::new(&mut c, m, n).unwrap()).unwrap();
                    assert!(c == want, "{backend:?}: {m}x{k}x{n}, tuned to {value}");
                }
            }
        }
    }
}
