//! Charts as inline SVG. Their colours are names: the page's style sheet gives each a value, one for light pages and
//! one for dark ones.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use std::fmt::Write;
use std::ops::Range;

/// A line, or points, with a name.
pub struct Series {
    /// In the legend.
    pub name: String,
    /// x and y.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub mark: Mark,
    /// Which of the colours.
    pub colour: usize,
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A line with a dot at each point.
    Line,
    /// A dashed line without dots: a limit.
    Limit,
    /// Dots.
    Dots,
}

/// The axes of a chart.
pub struct Axes {
    /// What the horizontal one shows.
    pub x: &'static str,
    /// What the vertical one shows.
    pub y: &'static str,
    /// Whether each is logarithmic, to the base 2 along x and 10 along y.
    pub logarithmic: (bool, bool),
    /// Where y begins; below all values where that is not given.
    pub y_from: Option<f64>,
}

/// Colours of series.
pub const COLOURS: usize = 6;
const SIZE: (u32, u32) = (520, 320);
const FONT: i32 = 18;

/// Names of colours that no page shows: the style sheet replaces them.
const fn name(number: u8) -> RGBColor {
    RGBColor(1, 2, number)
}
const INK: RGBColor = name(1);
const GRID: RGBColor = name(2);

fn series_colour(i: usize) -> RGBColor {
    name(16 + (i % COLOURS) as u8)
}

/// The rules that give the colours of charts the values of the variables `--ink`, `--grid`, `--s0`, `--s1` and so on.
pub fn style() -> String {
    let mut rules = String::new();
    let mut rule = |RGBColor(r, g, b): RGBColor, variable: &str| {
        for property in ["fill", "stroke"] {
            writeln!(rules, ".chart [{property}=\"#{r:02X}{g:02X}{b:02X}\"]{{{property}:var(--{variable})}}")
                .expect("writing to a String does not fail");
        }
    };
    rule(INK, "ink");
    rule(GRID, "grid");
    for i in 0..COLOURS {
        rule(series_colour(i), &format!("s{i}"));
    }
    rules
}

/// The chart, with `description` for those who can't see it, and its legend.
///
/// # Panics
/// When no series has a point.
pub fn svg(axes: &Axes, series: &[Series], description: &str) -> String {
    let range = |of: fn(&(f64, f64)) -> f64| {
        let values = series.iter().flat_map(|series| &series.points).map(of);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    let ((x0, x1), (y0, y1)) = (range(|p| p.0), range(|p| p.1));
    assert!(x0 <= x1 && y0 <= y1, "a chart without points");
    let widened = |low: f64, high: f64, logarithmic: bool| {
        let equal = low == high;
        if logarithmic {
            low / if equal { 2.0 } else { 1.2 }..high * if equal { 2.0 } else { 1.2 }
        } else {
            let margin = if equal { low.abs().max(1.0) / 2.0 } else { (high - low) / 20.0 };
            low - margin..high + margin
        }
    };
    let x = widened(x0, x1, axes.logarithmic.0);
    let y = widened(axes.y_from.unwrap_or(y0), y1, axes.logarithmic.1);
    let y = axes.y_from.unwrap_or(y.start)..y.end;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        match axes.logarithmic {
            (false, false) => draw(&area, axes, series, x, y),
            (true, false) => draw(&area, axes, series, x.log_scale().base(2.0), y),
            (false, true) => draw(&area, axes, series, x, y.log_scale()),
            (true, true) => draw(&area, axes, series, x.log_scale().base(2.0), y.log_scale()),
        }
        .expect("drawing into a String does not fail");
    }
    // It is as wide as its column.
    let size = format!("width=\"{}\" height=\"{}\"", SIZE.0, SIZE.1);
    let svg = text.replacen(&size, &format!("role=\"img\" aria-label=\"{description}\""), 1);
    format!("<figure class=\"chart\">\n{svg}\n{}</figure>\n", legend(series))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw<'a, X, Y>(area: &Area<'a>, axes: &Axes, series: &[Series], x: X, y: Y) -> Result<(), Failure<'a>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let font = ("sans-serif", FONT).into_font().color(&INK);
    // What is counted on a linear axis, like epochs, has no halves.
    let between = |x: f64| !axes.logarithmic.0 && (x - x.round()).abs() > 1e-9;
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(52)
        .y_label_area_size(60)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_labels(7)
        .y_labels(6)
        .x_label_formatter(&|&x| if between(x) { String::new() } else { number(x) })
        .y_label_formatter(&|y| number(*y))
        .label_style(font.clone())
        .axis_desc_style(font)
        .axis_style(GRID)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for Series { points, mark, colour, .. } in series {
        let colour = series_colour(*colour);
        let line = || points.iter().copied();
        if *mark == Mark::Limit {
            chart.draw_series(DashedLineSeries::new(line(), 6, 4, colour.stroke_width(2)))?;
        }
        if *mark == Mark::Line {
            chart.draw_series(LineSeries::new(line(), colour.stroke_width(2)))?;
        }
        if *mark != Mark::Limit {
            chart.draw_series(line().map(|at| Circle::new(at, 3, colour.filled())))?;
        }
    }
    area.present()
}

/// As short as it can be: at most three digits where that is exact enough for an axis.
fn number(x: f64) -> String {
    if x == 0.0 || (x.abs() >= 100.0 && x.abs() < 1e5) {
        return format!("{x:.0}");
    }
    if x.abs() >= 1e5 || x.abs() < 1e-3 {
        return format!("{x:.0e}");
    }
    let digits = (2 - x.abs().log10().floor() as i32).max(0) as usize;
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Names beside marks in their colours; a single series needs none.
fn legend(series: &[Series]) -> String {
    if series.len() < 2 {
        return String::new();
    }
    let item = |Series { name, mark, colour, .. }: &Series| {
        let class = match mark {
            Mark::Line => "line",
            Mark::Limit => "limit",
            Mark::Dots => "dots",
        };
        format!("<span><i class=\"{class}\" style=\"color:var(--s{})\"></i>{name}</span>\n", colour % COLOURS)
    };
    format!("<figcaption>\n{}</figcaption>\n", series.iter().map(item).collect::<String>())
}

/// A range of powers of two around these values, for roofs that reach beyond their points.
pub fn around(values: impl Iterator<Item = f64>, factor: f64) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(low, high), x| (low.min(x), high.max(x)));
    low / factor..high * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_have_no_colours_of_their_own() {
        let line = |colour| Series {
            name: format!("series {colour}"),
            points: vec![(8.0, 1.0), (64.0, 100.0)],
            mark: if colour == 0 { Mark::Line } else { Mark::Limit },
            colour,
        };
        for logarithmic in [(false, false), (true, false), (false, true), (true, true)] {
            let axes = Axes { x: "size", y: "speed", logarithmic, y_from: None };
            let text = svg(&axes, &[line(0), line(1)], "a description");
            assert!(text.contains("aria-label=\"a description\"") && text.contains("viewBox"), "{text}");
            assert!(text.contains("series 0") && text.contains("series 1"));
            let style = style();
            for attribute in ["fill=\"#", "stroke=\"#"] {
                for (at, _) in text.match_indices(attribute) {
                    let value = &text[at..at + attribute.len() + 7];
                    assert!(style.contains(value), "{value} is not in the style sheet");
                }
            }
        }
    }

    #[test]
    fn numbers_on_axes_are_short() {
        for (x, text) in
            [(0.0, "0"), (0.25, "0.25"), (1.0, "1"), (12.5, "12.5"), (128.0, "128"), (2048.0, "2048"), (1e6, "1e6")]
        {
            assert_eq!(number(x), text);
        }
    }

    #[test]
    fn one_point_is_enough() {
        let axes = Axes { x: "x", y: "y", logarithmic: (false, false), y_from: None };
        let one = Series { name: "one".into(), points: vec![(1.0, 2.0)], mark: Mark::Dots, colour: 0 };
        assert!(svg(&axes, &[one], "").contains("<circle"));
    }
}
