//! Predictions as a picture: an SVG that needs no fonts, scripts or files of its own and follows a dark page.

use std::fmt::{self, Write};

/// An image and what the model made of it.
pub struct Tile<'a> {
    /// Grey values, row by row.
    pub pixels: &'a [u8],
    /// What it shows.
    pub label: u32,
    /// What the model takes it for.
    pub prediction: u32,
    /// The probability that the model gives to its prediction.
    pub confidence: f32,
}

const COLUMNS: usize = 5;
/// Side of an image, in user units; so are all other lengths.
const IMAGE: usize = 84;
/// From a tile to the next one.
const STEP: (usize, usize) = (116, 132);
const MARGIN: usize = 24;
const TITLE: usize = 52;

/// Colours of a light page, as attributes that every viewer understands; the classes are for [`DARK`].
const PAPER: &str = r##"class="paper" fill="#ffffff""##;
const TILE: &str = r##"class="tile" fill="#f3f4f6""##;
const INK: &str = r##"class="ink" fill="#1f2328""##;
const DIM: &str = r##"class="dim" fill="#656d76""##;
const WRONG: &str = r##"class="wrong" fill="#cf222e""##;
const FRAME: &str = r##"class="frame" fill="none" stroke="#cf222e""##;
const DARK: &str = "@media(prefers-color-scheme:dark){\
.paper{fill:#0d1117}.tile{fill:#1c2128}.ink{fill:#e6edf3}.dim{fill:#9198a1}.wrong{fill:#ff7b72}.frame{stroke:#ff7b72}}";

/// The SVG text: `tiles` of images that are `width` pixels wide, under a title.
pub fn svg(title: &str, subtitle: &str, tiles: &[Tile<'_>], width: usize) -> String {
    let mut text = String::new();
    write_svg(&mut text, title, subtitle, tiles, width).expect("writing to a String does not fail");
    text
}

fn write_svg(out: &mut String, title: &str, subtitle: &str, tiles: &[Tile<'_>], width: usize) -> fmt::Result {
    let rows = tiles.len().div_ceil(COLUMNS);
    let size = (2 * MARGIN + (COLUMNS - 1) * STEP.0 + IMAGE, MARGIN + TITLE + rows * STEP.1 + 4);
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" font-family="system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif">
<title>{title}: {subtitle}</title>
<style>{DARK}</style>
<rect {PAPER} width="{w}" height="{h}" rx="8"/>
<text x="{MARGIN}" y="38" font-size="17" font-weight="600" {INK}>{title}</text>
<text x="{MARGIN}" y="58" font-size="13" {DIM}>{subtitle}</text>"#,
        w = size.0,
        h = size.1,
    )?;
    for (i, tile) in tiles.iter().enumerate() {
        let (x, y) = (MARGIN + i % COLUMNS * STEP.0, MARGIN + TITLE + i / COLUMNS * STEP.1);
        writeln!(out, r#"<g transform="translate({x} {y})">"#)?;
        write_tile(out, tile, width)?;
        writeln!(out, "</g>")?;
    }
    writeln!(out, "</svg>")
}

fn write_tile(out: &mut String, tile: &Tile<'_>, width: usize) -> fmt::Result {
    let Tile { label, prediction, .. } = tile;
    let wrong = label != prediction;
    writeln!(out, r#"<rect {TILE} width="{IMAGE}" height="{IMAGE}" rx="4"/>"#)?;
    write_pixels(out, tile.pixels, width)?;
    let (colour, mark) = if wrong { (WRONG, "✗ ") } else { (INK, "") };
    let (middle, line) = (IMAGE / 2, IMAGE + 17);
    writeln!(
        out,
        r#"<text x="{middle}" y="{line}" text-anchor="middle" font-size="14" font-weight="600" {colour}>{mark}{prediction}<tspan {DIM} dx="6" font-size="12" font-weight="400">{:.1}%</tspan></text>"#,
        100.0 * tile.confidence,
    )?;
    if wrong {
        writeln!(
            out,
            r#"<rect {FRAME} x="-3" y="-3" width="{side}" height="{side}" rx="6" stroke-width="2.5"/>
<text x="{middle}" y="{below}" text-anchor="middle" font-size="12" {WRONG}>really {label}</text>"#,
            side = IMAGE + 6,
            below = line + 15,
        )?;
    }
    Ok(())
}

/// Runs of equal grey, all those of a shade in one path: a tenth of the size of one element for each pixel.
fn write_pixels(out: &mut String, pixels: &[u8], width: usize) -> fmt::Result {
    const SHADES: u8 = 16;
    let shade = |grey: u8| (u16::from(grey) * u16::from(SHADES) / 256) as u8;
    let width = width.max(1);
    let side = width.max(pixels.len() / width);
    let scale = IMAGE as f64 / side as f64;
    writeln!(out, r#"<g transform="scale({scale:.4})" {INK} shape-rendering="crispEdges">"#)?;
    for wanted in 1..SHADES {
        let mut path = String::new();
        for (y, row) in pixels.chunks(width).enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|a, b| shade(*a) == shade(*b)) {
                if shade(run[0]) == wanted {
                    write!(path, "M{x} {y}h{0}v1h-{0}z", run.len())?;
                }
                x += run.len();
            }
        }
        if !path.is_empty() {
            let opacity = f64::from(wanted) / f64::from(SHADES - 1);
            writeln!(out, r#"<path fill-opacity="{opacity:.2}" d="{path}"/>"#)?;
        }
    }
    writeln!(out, "</g>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_become_paths_of_their_shade() {
        let mut out = String::new();
        write_pixels(&mut out, &[0, 255, 255, 0, 0, 128], 3).unwrap();
        assert!(out.contains(r#"<path fill-opacity="1.00" d="M1 0h2v1h-2z"/>"#), "{out}");
        assert!(out.contains(r#"<path fill-opacity="0.53" d="M2 1h1v1h-1z"/>"#), "{out}");
        assert_eq!(out.matches("<path").count(), 2);
    }

    #[test]
    fn wrong_predictions_stand_out_and_name_the_truth() {
        let tile = |prediction| Tile { pixels: &[0; 4], label: 4, prediction, confidence: 0.5 };
        let svg = svg("title", "subtitle", &[tile(4), tile(9)], 2);
        assert_eq!(svg.matches("class=\"frame\"").count(), 1);
        assert!(svg.contains("✗ 9") && svg.contains("really 4"));
        assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
    }
}
