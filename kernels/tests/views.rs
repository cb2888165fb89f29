//! What views accept and what they refuse.

use kernels::{MatMut, MatRef};

#[test]
fn a_view_must_fit_its_slice() {
    let x = [0.0f32; 10];
    assert!(MatRef::new(&x, 2, 5).is_ok());
    let error = MatRef::new(&x, 3, 4).unwrap_err().to_string();
    assert_eq!(error, "a slice of length 10 is not that of a dense 3x4 matrix");
    let error = MatRef::col_major(&x, 3, 4).unwrap_err().to_string();
    assert_eq!(error, "a slice of length 10 is not that of a dense 3x4 matrix");
    let error = MatMut::col_major(&mut [0.0; 7], 2, 3).unwrap_err().to_string();
    assert_eq!(error, "a slice of length 7 is not that of a dense 2x3 matrix");
    let error = MatMut::new(&mut [0.0; 2], 2, 3).unwrap_err().to_string();
    assert_eq!(error, "a slice of length 2 is not that of a dense 2x3 matrix");
    assert!(MatRef::new(&x, usize::MAX, 2).is_err(), "the product of the sizes overflows");
    assert!(MatRef::with_strides(&x, 2, 3, 7, 1).is_ok());
    let error = MatRef::with_strides(&x, 2, 3, 8, 1).unwrap_err().to_string();
    assert_eq!(error, "a 2x3 view with strides (8, 1) does not fit a slice of length 10");
    assert!(MatRef::with_strides(&x, 2, 2, usize::MAX, 1).is_err(), "the extent overflows");
    assert!(MatRef::with_strides(&x, 0, 1000, 1, 1).is_ok(), "an empty view fits anywhere");
    assert!(MatRef::with_strides(&x, 5, 2, 0, 0).is_ok(), "a read-only view may repeat its elements");
}

/// Against brute force: every small shape and stride.
#[test]
fn mutable_views_must_not_overlap() {
    for rows in 0..5 {
        for cols in 0..5 {
            for rs in 0..7 {
                for cs in 0..7 {
                    let mut x = [0.0f32; 64];
                    let mut places: Vec<_> = (0..rows).flat_map(|i| (0..cols).map(move |j| i * rs + j * cs)).collect();
                    places.sort_unstable();
                    let distinct = places.windows(2).all(|p| p[0] != p[1]);
                    let accepted = MatMut::with_strides(&mut x, rows, cols, rs, cs).is_ok();
                    assert_eq!(accepted, distinct, "{rows}x{cols} with strides ({rs}, {cs})");
                }
            }
        }
    }
}

#[test]
fn transposed_sub_matrices_reach_their_elements() {
    let x: Vec<f32> = (0..20).map(|i| i as f32).collect();
    let v = MatRef::new(&x, 4, 5).unwrap();
    assert_eq!(v.get(1, 2), 7.0);
    assert_eq!(v.t().get(2, 1), 7.0);
    let s = v.sub(1..4, 2..4).unwrap();
    assert_eq!((s.shape(), s.get(0, 0), s.get(2, 1)), ((3, 2), 7.0, 18.0));
    assert_eq!(s.t().sub(1..2, 0..3).unwrap().get(0, 2), 18.0);
    assert!(v.sub(4..4, 5..5).is_ok());
    assert_eq!(v.sub(2..5, 0..1).unwrap_err().to_string(), "rows 2..5 do not lie in a matrix with 4 rows");
    let mut y = [0.0f32; 6];
    let mut w = MatMut::col_major(&mut y, 2, 3).unwrap();
    w.set(1, 2, 9.0);
    assert_eq!((w.get(1, 2), w.as_ref().get(1, 2)), (9.0, 9.0));
    assert_eq!(y[5], 9.0);
}

#[test]
#[should_panic(expected = "(2, 0) is outside 2x2")]
fn an_element_outside_is_a_panic() {
    let x = [0.0f32; 4];
    let _ = MatRef::new(&x, 2, 2).unwrap().get(2, 0);
}
