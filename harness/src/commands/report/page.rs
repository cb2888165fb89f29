//! The report as a page: HTML and SVG in one file, for light and dark screens, wide and narrow ones.

use super::super::compare::Epoch;
use super::{Prediction, Record};
use crate::chart::{self, Axes, Mark, Series};
use crate::measure::Cache;
use crate::picture::{self, Tile};
use crate::record::{CaseRecord, Entry, Score};
use crate::report::{counted, percent, short, thousands};
use crate::stats::{Verdict, geometric_mean};
use nn::Dataset;
use std::fmt::Display;

const STYLE: &str = "
:root{color-scheme:light dark;--paper:#fcfcfb;--card:#fff;--ink:#1c1c1a;--dim:#5f5e5a;--line:#dddcd7;--grid:#e6e5e0;
--good:#0b7a3b;--bad:#b3261e;--s0:#2a6fdb;--s1:#c2571a;--s2:#188a63;--s3:#8b5cc7;--s4:#a8842c;--s5:#7a7974;
--heat:42,111,219}
@media(prefers-color-scheme:dark){:root{--paper:#161615;--card:#1f1f1d;--ink:#eeede8;--dim:#a3a29b;--line:#383733;
--grid:#33322f;--good:#5ec88a;--bad:#ff8a80;--s0:#6ea3f5;--s1:#f0925a;--s2:#4cc299;--s3:#b794ee;--s4:#d9b65c;
--s5:#9a9992;--heat:110,163,245}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 4px}h2{font-size:1.25rem;margin:48px 0 4px}
h3{font-size:1rem;margin:0 0 8px}
p{margin:4px 0 12px;max-width:76ch}.dim,figcaption,th{color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}
.tiles,.two{display:grid;gap:16px}.tiles{grid-template-columns:repeat(auto-fit,minmax(150px,1fr));margin:24px 0}
.two{grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));align-items:start}
.card+.card{margin-top:16px}.two .card{margin-top:0}
.card,.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px;min-width:0}
.tile b{display:block;font-size:1.6rem;line-height:1.2;font-variant-numeric:tabular-nums}
.tile span{color:var(--dim);font-size:.85rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th{font-weight:500}th:first-child,td:first-child{text-align:left}tr:last-child td{border-bottom:0}
tr.case td{padding-top:14px;font-weight:600;border-bottom:0}
figure{margin:0}.chart svg{display:block;width:100%;height:auto}
figcaption{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:.85rem;margin-top:6px}
figcaption span{display:inline-flex;align-items:center;gap:6px}
figcaption i{display:inline-block;width:18px;height:0;border-top:2.5px solid}i.limit{border-top-style:dashed!important}
figcaption i.dots{width:8px;height:8px;border-radius:50%;border:0;background:currentColor}
.bars{display:grid;grid-template-columns:auto 1fr auto;gap:6px 12px;align-items:center;font-size:.875rem}
.bars div{height:12px;border-radius:3px;background:var(--s0);min-width:2px}
.bars .n{text-align:right;font-variant-numeric:tabular-nums}
.confusion td,.confusion th{text-align:center;padding:5px 4px;border:0;min-width:2.4em}
.picture svg{display:block;width:100%;max-width:600px;height:auto}
ul{padding-left:1.2em;margin:4px 0}dl{display:grid;grid-template-columns:auto 1fr;gap:4px 16px;margin:0;font-size:.9rem}
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
@media(max-width:480px){main{padding:20px 12px 48px}.card{padding:12px}h2{margin-top:36px}
.bars{grid-template-columns:1fr auto}.bars div{grid-column:1/-1;grid-row:auto;order:0}}
";

/// The whole page.
pub(super) fn html(record: &Record, test: &Dataset) -> String {
    let compare = &record.compare;
    let cpu = escape(record.head.machine.cpu.as_deref().unwrap_or("unknown CPU"));
    let sections = [
        tiles(record),
        losses(record),
        section(
            "Matrix products",
            "f32 on one thread. The peak is a loop of nothing but fused multiply-adds in registers, sampled in the \
             same rounds.",
            &two(&[&card("Speed over size", &sizes(record)), &card("Roofline", &roofline(record))]),
        ),
        section(
            "Times as fast",
            "Medians of the ratios within rounds, with their 95 % intervals. Those in grey are no difference: the \
             interval holds 1, or identical code differed as much (the noise floor of the case).",
            &(card("", &ratios(&compare.products)) + &card("", &ratios(&compare.functions))),
        ),
        section(
            "Errors of products",
            "Against exact products. Scaled: the largest |error| / (|A||B|), in units of 2<sup>-24</sup>.",
            &card("", &errors(&compare.products)),
        ),
        section(
            "Functions",
            "f32 on one thread. ULP: the largest error in units of the last place, relative, tails included.",
            &card("", &functions(&compare.functions)),
        ),
        section(
            "Training",
            &format!(
                "{} on MNIST, Adam, batches of 32, {}. Test accuracy {:.4}.",
                record.layers.iter().map(ToString::to_string).collect::<Vec<_>>().join("-"),
                counted(compare.training.epochs.len(), "epoch"),
                compare.training.test_accuracy
            ),
            &two(&[
                &card("Loss", &curve(record, "loss", |epoch| Some(epoch.loss), |epoch| epoch.test_loss)),
                &card(
                    "Accuracy",
                    &curve(record, "accuracy", |epoch| Some(epoch.accuracy), |epoch| epoch.test_accuracy),
                ),
                &card("Equal steps by all", &runs(record)),
                &card("Where a step's time goes", &budget(record)),
            ]),
        ),
        section(
            "What the model learned",
            "",
            &two(&[
                &card("Confusion on the test set", &confusion(record)),
                &card("Each class", &scores(&record.scores)),
                &card("", &format!("<div class=\"picture\">{}</div>", pictures(&record.predictions, test))),
            ]),
        ),
        section("Cold caches", "The operands lie in memory before each call.", &card("", &cold(record))),
        section("Machine and build", "", &card("", &facts(record))),
    ];
    let [year, month, day] = date(record.time);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>harness report: {cpu}</title>\n<style>{STYLE}{}</style>\n</head>\n\
         <body>\n<main>\n<h1>Kernels on {cpu}</h1>\n\
         <p class=\"dim\">{year}-{month:02}-{day:02}, row {}, {} of measurements</p>\n{}</main>\n</body>\n</html>\n",
        chart::style(),
        compare.active,
        counted(record.seconds.round() as usize, "second"),
        sections.concat(),
    )
}

/// Text as HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn section(title: &str, lead: &str, content: &str) -> String {
    let lead = if lead.is_empty() { String::new() } else { format!("<p class=\"dim\">{lead}</p>\n") };
    format!("<section>\n<h2>{title}</h2>\n{lead}{content}</section>\n")
}

fn card(title: &str, content: &str) -> String {
    let title = if title.is_empty() { String::new() } else { format!("<h3>{title}</h3>\n") };
    format!("<div class=\"card\">\n{title}{content}</div>\n")
}

fn two(cards: &[&str]) -> String {
    format!("<div class=\"two\">\n{}</div>\n", cards.concat())
}

/// A table; cells are HTML.
fn table(class: &str, headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head: String = headings.iter().map(|heading| format!("<th>{heading}</th>")).collect();
    let row = |cells: Vec<String>| match cells.as_slice() {
        // A line of its own for what the next lines belong to.
        [name] => format!("<tr class=\"case\"><td colspan=\"{}\">{name}</td></tr>\n", headings.len()),
        cells => {
            let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
            format!("<tr>{cells}</tr>\n")
        }
    };
    let body: String = rows.into_iter().map(row).collect();
    format!("<div class=\"scroll\"><table class=\"{class}\">\n<tr>{head}</tr>\n{body}</table></div>\n")
}

fn tile(value: impl Display, what: &str) -> String {
    format!("<div class=\"tile\"><b>{value}</b><span>{what}</span></div>\n")
}

fn tiles(record: &Record) -> String {
    let compare = &record.compare;
    let over = |name: &str| {
        let ratio = |case: &CaseRecord| Some(case.entry(compare.active)?.over.get(name)?.estimate.median);
        geometric_mean(compare.products.iter().filter_map(ratio)).map_or("-".to_owned(), |mean| short(mean) + " x")
    };
    let peak = |case: &CaseRecord| case.entry(compare.active).and_then(|entry| entry.peak);
    let best = compare.products.iter().filter_map(peak).fold(0.0, f64::max);
    let training = &compare.training;
    let epoch = training.epochs.iter().map(|epoch| epoch.seconds).fold(f64::INFINITY, f64::min);
    let noise = compare.products.iter().map(|case| case.noise_floor).fold(0.0, f64::max);
    let tiles = [
        tile(over("naive i-j-k"), "textbook loops (i-j-k), geometric mean over products"),
        tile(over("naive i-k-j"), "loops that the compiler vectorises (i-k-j)"),
        tile(percent(best), "of the FMA peak, at best"),
        tile(format!("{} s", short(epoch)), "an epoch of MNIST, one thread"),
        tile(format!("{:.2}%", 100.0 * training.test_accuracy), "test accuracy"),
        tile(format!("{:.1}%", 100.0 * noise), "largest noise floor of a product"),
    ];
    format!("<div class=\"tiles\">\n{}</div>\n", tiles.concat())
}

/// Losses and failures first.
fn losses(record: &Record) -> String {
    let list = |items: &[String]| items.iter().map(|item| format!("<li>{}</li>\n", escape(item))).collect::<String>();
    let compare = &record.compare;
    let losses = match compare.losses.as_slice() {
        [] => "<p class=\"good\">No row was slower than another contender anywhere.</p>\n".to_owned(),
        losses => {
            format!("<p class=\"bad\">A row was slower than another contender:</p>\n<ul>\n{}</ul>\n", list(losses))
        }
    };
    let checks = match compare.checks_failed.as_slice() {
        [] => format!(
            "<p class=\"good\">All {} passed: errors, equal bits on every row, accuracy.</p>\n",
            counted(compare.checks_passed, "check")
        ),
        failed => format!("<p class=\"bad\">Failed checks:</p>\n<ul>\n{}</ul>\n", list(failed)),
    };
    section("Losses and checks", "", &card("", &(losses + &checks)))
}

/// The size of a square from the name of its case.
fn size(case: &CaseRecord) -> f64 {
    (case.operations / 2.0).cbrt().round()
}

fn sizes(record: &Record) -> String {
    let active = record.compare.active;
    let points = |of: &dyn Fn(&CaseRecord) -> Option<f64>| {
        record.sizes.iter().filter_map(|case| Some((size(case), of(case)? / 1e9))).collect::<Vec<_>>()
    };
    let speed = |name: &'static str| move |case: &CaseRecord| Some(case.entry(name)?.speed);
    let peak = |case: &CaseRecord| {
        let entry = case.entry(active)?;
        Some(entry.speed / entry.peak?)
    };
    let series = |name: &str, mark, colour, points| Series { name: name.to_owned(), points, mark, colour };
    let all = [
        series("FMA peak", Mark::Limit, 5, points(&peak)),
        series(active, Mark::Line, 0, points(&speed(active))),
        series("naive i-k-j", Mark::Line, 1, points(&speed("naive i-k-j"))),
        series("naive i-j-k", Mark::Line, 2, points(&speed("naive i-j-k"))),
    ];
    let axes = Axes { x: "m = k = n", y: "GFLOP/s", logarithmic: (true, false), y_from: Some(0.0) };
    chart::svg(&axes, &all, "Speed of square products over their size")
}

fn roofline(record: &Record) -> String {
    let compare = &record.compare;
    let Some(limits) = compare.rooflines.iter().find(|limits| limits.row == compare.active) else {
        return String::new();
    };
    let cases = || record.sizes.iter().chain(&compare.products);
    let intensity = |case: &CaseRecord| case.operations / case.bytes;
    let range = chart::around(cases().map(intensity), 2.0);
    // Half powers of two, so that the corner of a roof is near where it is.
    let steps = (range.end / range.start).log2().ceil() as i32 * 8;
    let at = |i: i32| range.start * (f64::from(i) / 8.0).exp2();
    let mut series: Vec<Series> = Vec::new();
    for (i, level) in limits.levels.iter().enumerate() {
        let roof = |x: f64| (x, limits.peak.min(x * level.bandwidth) / 1e9);
        let points = (0..=steps).map(|i| roof(at(i))).collect();
        series.push(Series { name: format!("{} allows", level.name), points, mark: Mark::Limit, colour: i + 2 });
    }
    let point = |case: &CaseRecord| Some((intensity(case), case.entry(compare.active)?.speed / 1e9));
    let points = cases().filter_map(point).collect();
    series.push(Series { name: compare.active.to_owned(), points, mark: Mark::Dots, colour: 0 });
    let axes = Axes { x: "FLOP a byte", y: "GFLOP/s", logarithmic: (true, true), y_from: None };
    chart::svg(&axes, &series, "Speeds of products under the limits of arithmetic and bandwidth")
}

/// A line for each row of the kernels' table, a column for each other contender.
fn ratios(cases: &[CaseRecord]) -> String {
    let mut others: Vec<&str> = cases
        .iter()
        .flat_map(|case| case.results.iter())
        .flat_map(|entry| entry.over.keys())
        .map(String::as_str)
        .collect();
    others.sort_unstable();
    others.dedup();
    let cell = |entry: &Entry, other: &str| {
        let Some(ratio) = entry.over.get(other) else { return "-".to_owned() };
        let class = match ratio.verdict {
            Verdict::Faster => "good",
            Verdict::Slower => "bad",
            Verdict::NoDifference => "dim",
        };
        let x = ratio.estimate;
        format!(
            "<b class=\"{class}\">{}</b> <span class=\"dim\">{}..{}</span>",
            short(x.median),
            short(x.low),
            short(x.high)
        )
    };
    let rows = cases.iter().flat_map(|case| {
        let name = format!("{} <span class=\"dim\">{}</span>", escape(&case.name), case.noise());
        let lines = case.results.iter().filter(|entry| entry.row).map(|entry| {
            [escape(&entry.name)].into_iter().chain(others.iter().map(|other| cell(entry, other))).collect()
        });
        [vec![name]].into_iter().chain(lines).collect::<Vec<Vec<String>>>()
    });
    let headings: Vec<String> = others.iter().map(|other| format!("x {}", escape(other))).collect();
    let headings: Vec<&str> = ["row"].into_iter().chain(headings.iter().map(String::as_str)).collect();
    table("", &headings, rows)
}

fn speed(entry: &Entry) -> Vec<String> {
    entry.speed_cells().to_vec()
}

fn errors(cases: &[CaseRecord]) -> String {
    let rows = cases.iter().flat_map(|case| {
        let entries = case.results.iter().map(|entry| {
            let peak = entry.peak.map_or("-".to_owned(), percent);
            [vec![escape(&entry.name)], speed(entry), vec![peak], entry.error_cells().to_vec()].concat()
        });
        [vec![escape(&case.name)]].into_iter().chain(entries)
    });
    table("", &["contender", "GFLOP/s", "95 %", "±", "peak", "scaled", "max abs", "rms"], rows)
}

fn functions(cases: &[CaseRecord]) -> String {
    let rows = cases.iter().flat_map(|case| {
        let entries = case.results.iter().map(|entry| {
            let over = entry.over.values().next().map_or("-".to_owned(), |ratio| ratio.cell());
            [vec![escape(&entry.name)], speed(entry), vec![over], entry.error_cells().to_vec()].concat()
        });
        [vec![escape(&case.name)]].into_iter().chain(entries)
    });
    table("", &["contender", "G/s", "95 %", "±", "x naive", "ULP", "max abs", "rms"], rows)
}

type OfEpoch = fn(&Epoch) -> Option<f64>;

fn curve(record: &Record, what: &'static str, train: OfEpoch, test: OfEpoch) -> String {
    let epochs = record.curves.iter().enumerate();
    let points = |of: OfEpoch| epochs.clone().filter_map(|(i, epoch)| Some(((i + 1) as f64, of(epoch)?))).collect();
    let series = [
        Series { name: "while training".to_owned(), points: points(train), mark: Mark::Line, colour: 0 },
        Series { name: "test set".to_owned(), points: points(test), mark: Mark::Line, colour: 1 },
    ];
    let axes = Axes { x: "epoch", y: what, logarithmic: (false, false), y_from: None };
    chart::svg(&axes, &series, &format!("{what} over epochs"))
}

fn runs(record: &Record) -> String {
    let rows = record.compare.training.runs.iter().map(|run| {
        let over = run.over.get("naive i-k-j").map_or("-".to_owned(), |ratio| short(ratio.estimate.median));
        vec![
            run.name.clone(),
            run.threads.to_string(),
            thousands((1.0 / run.seconds.median) as u64),
            over,
            format!("{:.4}", run.test_accuracy),
            format!("<code>{}</code>", &run.weights_sha256[..8]),
        ]
    });
    let lead = format!(
        "<p class=\"dim\">{} each. Equal digests are equal weights, bit for bit.</p>\n",
        counted(record.compare.training.steps, "step")
    );
    lead + &table("", &["", "threads", "samples/s", "x i-k-j", "accuracy", "weights"], rows)
}

fn budget(record: &Record) -> String {
    let budget = &record.budget;
    let most = budget.parts.iter().map(|part| part.share).fold(0.0, f64::max);
    let bars = budget.parts.iter().map(|part| {
        format!(
            "<span>{}</span><div style=\"width:{:.1}%\"></div><span class=\"n\">{} us</span>\n",
            part.name,
            100.0 * part.share.max(0.0) / most,
            short(part.seconds.median * 1e6)
        )
    });
    format!(
        "<p class=\"dim\">{} us a step of {} samples, one thread.</p>\n<div class=\"bars\">\n{}</div>\n",
        short(budget.seconds.median * 1e6),
        budget.batch,
        bars.collect::<String>()
    )
}

fn confusion(record: &Record) -> String {
    let classes: Vec<String> = (0..record.confusion.len()).map(|class| class.to_string()).collect();
    let headings: Vec<&str> = ["label"].into_iter().chain(classes.iter().map(String::as_str)).collect();
    let mut text = table("confusion", &headings, []);
    let rows = record.confusion.iter().enumerate().map(|(label, counts)| {
        let total: u64 = counts.iter().sum();
        let cell = |(class, &count): (usize, &u64)| {
            let share = count as f64 / total.max(1) as f64;
            // Errors are rare, so their shade grows with the root.
            let shade = if class == label { 0.55 * share } else { share.sqrt() };
            let count = if count == 0 { String::new() } else { count.to_string() };
            format!("<td style=\"background:rgba(var(--heat),{shade:.2})\">{count}</td>")
        };
        format!("<tr><th>{label}</th>{}</tr>\n", counts.iter().enumerate().map(cell).collect::<String>())
    });
    let end = text.rfind("</table>").unwrap_or(text.len());
    text.insert_str(end, &rows.collect::<String>());
    text + "<p class=\"dim\">Rows: what an image shows; columns: what the model takes it for.</p>\n"
}

fn scores(scores: &[Score]) -> String {
    let rows = scores.iter().enumerate().map(|(class, x)| {
        let share = |x: f64| format!("{x:.4}");
        vec![class.to_string(), share(x.precision), share(x.recall), share(x.f1), x.support.to_string()]
    });
    table("", &["class", "precision", "recall", "F1", "images"], rows)
}

fn pictures(predictions: &[Prediction], test: &Dataset) -> String {
    let tile = |(i, x): (usize, &Prediction)| Tile {
        pixels: test.image(i),
        label: x.label,
        prediction: x.prediction,
        confidence: x.probability,
    };
    let tiles: Vec<Tile<'_>> = predictions.iter().enumerate().map(tile).collect();
    let right = predictions.iter().filter(|x| x.label == x.prediction).count();
    let title = format!("The first {} test images", tiles.len());
    picture::svg(&title, &format!("{right} of them right"), &tiles, test.width())
}

fn cold(record: &Record) -> String {
    let active = record.compare.active;
    let rows = record.cold.iter().filter_map(|case| {
        let cold = case.entry(active)?;
        let warm = record.sizes.iter().find(|warm| warm.name == case.name && warm.cache == Cache::Warm);
        let warm = warm.and_then(|warm| warm.entry(active));
        let us = |entry: &Entry| short(entry.seconds.median * 1e6);
        let [speed, interval, spread] = cold.speed_cells();
        Some(vec![escape(&case.name), us(cold), warm.map_or("-".to_owned(), us), speed, interval, spread])
    });
    table("", &["product", "us cold", "us warm", "GFLOP/s cold", "95 %", "±"], rows)
}

fn facts(record: &Record) -> String {
    let machine = &record.head.machine;
    let unknown = || "unknown".to_owned();
    let known = |x: Option<&str>| x.map_or_else(unknown, escape);
    let clock = |x: Option<f64>| x.map_or_else(unknown, |mhz| format!("{mhz:.0} MHz"));
    let [before, after] = record.clock_mhz;
    let rooflines = record.compare.rooflines.iter().map(|limits| {
        let levels = limits.levels.iter().map(|level| format!("{} {}", level.name, short(level.bandwidth / 1e9)));
        let levels = levels.collect::<Vec<_>>().join(", ");
        (format!("limits of {}", limits.row), format!("{} GFLOP/s; GB/s read: {levels}", short(limits.peak / 1e9)))
    });
    let facts = [
        ("CPU", format!("{} ({})", known(machine.cpu.as_deref()), machine.cpu_id)),
        ("architecture", format!("{}, {}", machine.architecture, machine.os)),
        ("cores", machine.cores.to_string()),
        ("caches", machine.caches.join(", ")),
        ("clock before, after", format!("{}, {}", clock(before), clock(after))),
        ("stolen by the host", record.steal_seconds.map_or_else(unknown, |s| format!("{s:.2} s"))),
        ("row", record.compare.active.to_owned()),
        ("caches as used", escape(&record.planned)),
        ("block sizes", escape(&record.tuning)),
        ("version", format!("{}, commit {}", machine.version, known(machine.commit))),
        ("compiler", known(machine.rustc)),
        ("compiler flags", known(machine.rustflags.or(Some("none")))),
    ];
    let facts = facts.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(rooflines);
    let items = facts.map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>\n"));
    format!("<dl>\n{}</dl>\n", items.collect::<String>())
}

/// Year, month and day of a time in seconds since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn date(seconds: u64) -> [u64; 3] {
    // Days since 0000-03-01, in eras of 400 years.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    [era * 400 + year + u64::from(month <= 2), month, day]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Operation;
    use crate::record::Ratio;
    use crate::stats::Estimate;

    #[test]
    fn names_of_libraries_are_text() {
        let seconds = Estimate { median: 1.0, mad: 0.0, low: 1.0, high: 1.0 };
        let ratio = Ratio { estimate: seconds, verdict: Verdict::Faster };
        let entry = Entry {
            name: "<i>x,y".to_owned(),
            row: true,
            threads: 1,
            seconds,
            speed: 1.0,
            peak: None,
            roofline: None,
            error: 0.0,
            max_abs_error: 0.0,
            rms_error: 0.0,
            samples: 1,
            over: [("<i>z".to_owned(), ratio)].into(),
        };
        let case = CaseRecord {
            name: "1x1x1".to_owned(),
            operation: Operation::Flop,
            operations: 2.0,
            bytes: 12.0,
            cache: Cache::Warm,
            noise_floor: 0.0,
            disturbed: 0,
            results: vec![entry],
        };
        for html in [ratios, errors, functions].map(|part| part(std::slice::from_ref(&case))) {
            assert!(html.contains("&lt;i&gt;x,y") && !html.contains("<i>"), "{html}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), [1970, 1, 1]);
        assert_eq!(date(951_782_400), [2000, 2, 29]);
        assert_eq!(date(1_795_564_800), [2026, 11, 25]);
    }
}
