//! Images of digits from files, as MNIST has them.
//!
//! MNIST's digits were fitted into a square of 20 x 20 pixels, their proportions kept, and put into 28 x 28 so that the
//! centre of mass of their ink is in the middle (Y. LeCun, C. Cortes, C. Burges, "The MNIST database"): white ink on
//! black.

use crate::error::{Error, Result};
use crate::files;
use std::io::Cursor;
use std::path::Path;

/// Grey values, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grey {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 0 is black.
    pub pixels: Vec<u8>,
}

/// The largest file, and the most pixels, that are read.
const MOST: u64 = 1 << 26;

/// Reads a PNG or a PGM (plain or raw); colours become grey, transparency white, or black under ink that is white.
///
/// # Errors
/// When the file can't be read, is neither, is damaged or has more than 2^26 pixels.
pub fn read(path: &Path) -> Result<Grey> {
    let bytes = files::read_at_most(path, MOST)?;
    let image = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => png(&bytes),
        [b'P', kind @ (b'2' | b'5'), rest @ ..] => pgm(rest, *kind == b'5'),
        _ => Err("is neither a PNG nor a PGM image".to_owned()),
    };
    image.map_err(|problem| Error::Image { path: path.to_owned(), problem })
}

/// How many pixels an image of this size has, if it is one that is read.
fn pixels(width: usize, height: usize) -> std::result::Result<usize, String> {
    let pixels = width.checked_mul(height).filter(|&pixels| 0 < pixels && pixels as u64 <= MOST);
    pixels.ok_or_else(|| format!("{width} x {height} pixels are not 1 to {MOST}"))
}

fn png(bytes: &[u8]) -> std::result::Result<Grey, String> {
    let text = |error: png::DecodingError| format!("is a damaged PNG: {error}");
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let (width, height) = {
        let info = decoder.read_header_info().map_err(text)?;
        (info.width as usize, info.height as usize)
    };
    let count = pixels(width, height)?;
    let mut reader = decoder.read_info().map_err(text)?;
    // At most four bytes a pixel now.
    let mut buffer = vec![0; count * 4];
    let frame = reader.next_frame(&mut buffer).map_err(text)?;
    let per_pixel = frame.color_type.samples();
    let grey = |p: &[u8], paper: f64| {
        let (grey, alpha) = match *p {
            [grey] => (f64::from(grey), 255),
            [grey, alpha] => (f64::from(grey), alpha),
            [r, g, b] => (luma(r, g, b), 255),
            [r, g, b, alpha] => (luma(r, g, b), alpha),
            _ => (0.0, 255),
        };
        let alpha = f64::from(alpha) / 255.0;
        (grey * alpha + paper * (1.0 - alpha)).round() as u8
    };
    let on = |paper| -> Vec<u8> { buffer.chunks_exact(per_pixel).take(count).map(|p| grey(p, paper)).collect() };
    let white = on(255.0);
    let is_blank = white.iter().all(|&p| p > u8::MAX - FAINT);
    Ok(Grey { width, height, pixels: if is_blank { on(0.0) } else { white } })
}

/// ITU-R BT.601.
fn luma(r: u8, g: u8, b: u8) -> f64 {
    0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)
}

/// What follows `P2` (numbers as text) or `P5` (as bytes): width, height, the value of white, the pixels.
fn pgm(mut rest: &[u8], raw: bool) -> std::result::Result<Grey, String> {
    let [width, height, white] = {
        let mut number = |what| next_number(&mut rest).ok_or(format!("is a PGM without a {what}"));
        [number("width")?, number("height")?, number("white")?]
    };
    let count = pixels(width, height)?;
    if !(1..=65_535).contains(&white) {
        return Err(format!("is a PGM whose white is {white}, not 1 to 65535"));
    }
    let grey = |value: usize| (value.min(white) * 255 / white) as u8;
    let found: Vec<u8> = if raw {
        // One white space ends the header.
        let rest = rest.get(1..).unwrap_or_default();
        if white < 256 {
            rest.iter().take(count).map(|&byte| grey(byte.into())).collect()
        } else {
            rest.chunks_exact(2).take(count).map(|two| grey(u16::from_be_bytes([two[0], two[1]]).into())).collect()
        }
    } else {
        std::iter::from_fn(|| next_number(&mut rest)).take(count).map(grey).collect()
    };
    if found.len() < count {
        return Err(format!("is a PGM of {width} x {height} with only {} pixels", found.len()));
    }
    Ok(Grey { width, height, pixels: found })
}

/// The next number of a PGM's text; a `#` begins a comment.
fn next_number(rest: &mut &[u8]) -> Option<usize> {
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'#' {
            let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
            *rest = &rest[end..];
        } else if byte.is_ascii_whitespace() {
            *rest = after;
        } else {
            break;
        }
    }
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Less than this is no ink.
const FAINT: u8 = 16;
/// Ink below this share of the darkest is paper.
const PAPER: f64 = 0.15;

/// The image as MNIST would have it, `side` pixels square: ink is what differs from the border, in whichever direction.
/// `None` when there is no ink.
pub fn like_mnist(image: &Grey, side: usize) -> Option<Vec<u8>> {
    let Grey { width, height, ref pixels } = *image;
    let paper = border(image);
    let ink: Vec<f64> = pixels.iter().map(|&p| f64::from(p.abs_diff(paper))).collect();
    let darkest = ink.iter().copied().fold(0.0, f64::max);
    if darkest < f64::from(FAINT) {
        return None;
    }
    let ink: Vec<f64> = ink.iter().map(|x| Some(x / darkest).filter(|&x| x >= PAPER).unwrap_or(0.0)).collect();
    let inked = |x: usize, y: usize| ink[y * width + x] > 0.0;
    let columns: Vec<usize> = (0..width).filter(|&x| (0..height).any(|y| inked(x, y))).collect();
    let rows: Vec<usize> = (0..height).filter(|&y| (0..width).any(|x| inked(x, y))).collect();
    let (left, right, top, bottom) = (*columns.first()?, *columns.last()?, *rows.first()?, *rows.last()?);
    let (w, h) = (right - left + 1, bottom - top + 1);

    // 20 of 28.
    let inner = (side * 5 / 7).max(1);
    let scale = inner as f64 / w.max(h) as f64;
    let fitted = |length: usize| ((length as f64 * scale).round() as usize).clamp(1, inner);
    let (to_w, to_h) = (fitted(w), fitted(h));
    let small = shrink(&ink, width, (left, top), (w, h), (to_w, to_h));

    let total: f64 = small.iter().sum();
    let centre = |at: fn(usize, usize) -> usize| {
        small.iter().enumerate().map(|(i, ink)| (at(i, to_w) as f64 + 0.5) * ink).sum::<f64>() / total
    };
    let shift =
        |centre: f64, length: usize| ((side as f64 / 2.0 - centre).round().max(0.0) as usize).min(side - length);
    let (x0, y0) = (shift(centre(|i, w| i % w), to_w), shift(centre(|i, w| i / w), to_h));
    let mut out = vec![0; side * side];
    for (i, ink) in small.iter().enumerate() {
        out[(y0 + i / to_w) * side + x0 + i % to_w] = (255.0 * ink).round() as u8;
    }
    Some(out)
}

/// The median of the pixels along the edge.
fn border(image: &Grey) -> u8 {
    let Grey { width, height, ref pixels } = *image;
    let edge = |i: usize| [0, width - 1].contains(&(i % width)) || i < width || i >= (height - 1) * width;
    let mut edge: Vec<u8> = (0..pixels.len()).filter(|&i| edge(i)).map(|i| pixels[i]).collect();
    edge.sort_unstable();
    edge[edge.len() / 2]
}

/// The part of an image that begins at a corner, in another size: each new pixel is the mean over the area it covers.
fn shrink(
    pixels: &[f64],
    stride: usize,
    corner: (usize, usize),
    (w, h): (usize, usize),
    (to_w, to_h): (usize, usize),
) -> Vec<f64> {
    /// The old pixels under new pixel `i`, and the share of it that each covers.
    fn covered(i: usize, from: usize, to: usize) -> Vec<(usize, f64)> {
        let ratio = from as f64 / to as f64;
        let (start, end) = (i as f64 * ratio, (i + 1) as f64 * ratio);
        let last = (end.ceil() as usize).min(from);
        (start as usize..last).map(|p| (p, ((p + 1) as f64).min(end) - (p as f64).max(start))).collect()
    }
    let columns: Vec<_> = (0..to_w).map(|x| covered(x, w, to_w)).collect();
    let mut out = Vec::with_capacity(to_w * to_h);
    for y in 0..to_h {
        let rows = covered(y, h, to_h);
        for columns in &columns {
            let (mut sum, mut area) = (0.0, 0.0);
            for (q, tall) in &rows {
                for (p, wide) in columns {
                    sum += pixels[(corner.1 + q) * stride + corner.0 + p] * tall * wide;
                    area += tall * wide;
                }
            }
            out.push(sum / area);
        }
    }
    out
}

/// The image in characters, two rows of pixels in a line.
pub fn in_text(pixels: &[u8], width: usize) -> Vec<String> {
    const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
    let line = |rows: &[u8]| {
        let shade = |x: usize| {
            let two = [rows[x], rows.get(width + x).copied().unwrap_or(rows[x])];
            let grey = (usize::from(two[0]) + usize::from(two[1])) / 2;
            SHADES[(grey * SHADES.len() / 256).min(SHADES.len() - 1)]
        };
        (0..width).map(shade).collect()
    };
    pixels.chunks(2 * width).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pgm_of(text: &[u8]) -> std::result::Result<Grey, String> {
        pgm(&text[2..], text[1] == b'5')
    }

    #[test]
    fn plain_and_raw_images_are_read() {
        let want = Grey { width: 3, height: 2, pixels: vec![0, 127, 255, 255, 0, 0] };
        assert_eq!(pgm_of(b"P2\n# a comment\n3 2\n255\n0 127 255\n255 0 0\n").unwrap(), want);
        assert_eq!(pgm_of(b"P5 3 2 255\n\x00\x7f\xff\xff\x00\x00").unwrap(), want);
        assert_eq!(pgm_of(b"P5 1 1 65535\n\xff\xff").unwrap().pixels, [255]);
        assert_eq!(pgm_of(b"P2 2 1 3 1 3").unwrap().pixels, [85, 255]);
    }

    #[test]
    fn damaged_images_are_refused_before_anything_is_allocated() {
        for (text, problem) in [
            (&b"P5"[..], "without a width"),
            (b"P2 2 2", "without a white"),
            (b"P5 99999999 99999999 255\n", "99999999 x 99999999"),
            (b"P5 0 4 255\n", "0 x 4"),
            (b"P2 2 2 255 1 2 3", "only 3 pixels"),
            (b"P2 2 2 0 1 2 3 4", "white is 0"),
        ] {
            let error = pgm_of(text).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        assert!(png(b"\x89PNG\r\n\x1a\n").unwrap_err().contains("damaged"));
    }

    #[test]
    fn pngs_are_read_as_grey() {
        let grey = |rgba: &[u8; 8]| {
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
            encoder.set_color(png::ColorType::Rgba);
            encoder.write_header().unwrap().write_image_data(rgba).unwrap();
            png(&bytes).unwrap().pixels
        };
        assert_eq!(grey(&[0, 0, 0, 255, 0, 0, 0, 0]), [0, 255]);
        assert_eq!(grey(&[255, 255, 255, 255, 255, 255, 255, 0]), [255, 0], "white ink on nothing");
    }

    /// A bar of ink on paper, anywhere and of any size.
    fn bar(width: usize, height: usize, (x, y): (usize, usize), (w, h): (usize, usize), paper: u8, ink: u8) -> Grey {
        let inside = |i: usize| (x..x + w).contains(&(i % width)) && (y..y + h).contains(&(i / width));
        Grey { width, height, pixels: (0..width * height).map(|i| if inside(i) { ink } else { paper }).collect() }
    }

    #[test]
    fn digits_are_fitted_centred_and_white() {
        let small = like_mnist(&bar(40, 60, (3, 5), (4, 20), 255, 10), 28).unwrap();
        let large = like_mnist(&bar(400, 300, (211, 20), (40, 200), 0, 90), 28).unwrap();
        assert_eq!(small, large);
        let inked: Vec<usize> = (0..784).filter(|&i| small[i] == 255).collect();
        assert_eq!(inked.len(), 4 * 20);
        assert_eq!((inked[0], inked[79]), (4 * 28 + 12, 23 * 28 + 15));
        assert_eq!(like_mnist(&bar(9, 9, (0, 0), (0, 0), 200, 0), 28), None);
    }

    #[test]
    fn shrinking_keeps_the_mean() {
        let from: Vec<f64> = (0..35).map(f64::from).collect();
        let to = shrink(&from, 7, (0, 0), (7, 5), (3, 2));
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        assert!((mean(&from) - mean(&to)).abs() < 1e-9);
    }

    #[test]
    fn a_digit_in_text_has_two_rows_in_a_line() {
        assert_eq!(in_text(&[0, 255, 255, 255, 0, 128], 2), [String::from("▒█"), String::from(" ▒")]);
    }
}
