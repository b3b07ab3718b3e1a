//! Line plots as SVG: how cost grows.

use std::fmt::Write;

use crate::{execution::compared, report::Report};

/// A line of points (x, y).
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Ascending in x.
    pub points: Vec<(f64, f64)>,
}

/// Colours that differ for most people, in the order of the series.
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#666666"];
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// Cost of each transaction against the size of a batch.
pub fn by_batch(report: &Report) -> Option<String> {
    let series: Vec<_> = ["admission", "share", "after_commit"]
        .iter()
        .map(|step| series(report, step, "batch", &["batch"]))
        .collect();
    let title = "CPU time of each transaction, by size of the batch (n = 16, t = 11)";
    draw(title, "transactions in a batch", &series)
}

/// Cost of each transaction against the size of the committee.
pub fn by_members(report: &Report) -> Option<String> {
    let series: Vec<_> = ["admission", "share", "combine", "after_commit", "blame"]
        .iter()
        .map(|step| series(report, step, "n", &["n", "batch"]))
        .collect();
    draw("CPU time of each transaction, by members (batches of 128)", "members", &series)
}

/// How many times as fast as the sequential engine the parallel one is, by workload: bars from the line at 1.
pub fn by_workload(report: &Report) -> Option<String> {
    let bars: Vec<_> = compared(&report.turns)
        .into_iter()
        .filter_map(|compared| Some((compared.ratio(1), compared.ratio(2)?, compared.workload)))
        .collect();
    let most = bars.iter().map(|(one, two, _)| one.unwrap_or(0.0).max(*two)).fold(0.0, f64::max);
    if bars.is_empty() {
        return None;
    }
    let top = (most / 0.25).ceil() * 0.25;
    let row = 34.0;
    let height = TOP + row * bars.len() as f64 + BOTTOM;
    let left = 150.0;
    let at = |ratio: f64| left + ratio / top * (WIDTH - left - 60.0);
    let bottom = height - BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">Sequential time / parallel time, least of the rounds</text>\n"
    );
    let mut line = 0.0;
    while line <= top {
        let (x, colour) = (at(line), if line == 1.0 { "#000000" } else { "#dddddd" });
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"{colour}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{line}</text>",
            bottom + 16.0
        );
        line += 0.25;
    }
    for (number, (one, two, workload)) in bars.iter().enumerate() {
        let y = TOP + row * number as f64 + 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{workload}</text>",
            left - 8.0,
            y + 17.0
        );
        for (at_y, ratio, colour) in
            [(y, one.unwrap_or(0.0), COLOURS[4]), (y + 13.0, *two, COLOURS[0])]
        {
            let _ = writeln!(
                svg,
                "<rect x=\"{left}\" y=\"{at_y:.1}\" width=\"{:.1}\" height=\"11\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"10\">{ratio:.2}</text>",
                at(ratio) - left,
                at(ratio) + 4.0,
                at_y + 9.0
            );
        }
    }
    for (number, (name, colour)) in
        [("one thread", COLOURS[4]), ("two threads", COLOURS[0])].into_iter().enumerate()
    {
        let x = left + 120.0 * number as f64;
        let y = height - 18.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\">{name}</text>",
            y - 10.0,
            x + 18.0
        );
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// The figures of a step, by one of exactly these parameters.
fn series(report: &Report, step: &str, key: &str, parameters: &[&str]) -> Series {
    let mut points: Vec<_> = report
        .stage("open")
        .filter_map(|row| {
            let id: crate::id::Id = row.id.parse().ok()?;
            let x = id.is_open(step, parameters).then(|| id.number(key)).flatten()?;
            Some((x as f64, row.each_us))
        })
        .collect();
    points.sort_by(|left, right| left.0.total_cmp(&right.0));
    Series { name: step.replace('_', " "), points }
}

/// A plot with a logarithmic x axis; `None` unless some series has two points.
pub fn draw(title: &str, x_name: &str, series: &[Series]) -> Option<String> {
    let series: Vec<_> = series.iter().filter(|series| series.points.len() > 1).collect();
    let points = || series.iter().flat_map(|series| series.points.iter().copied());
    let mut xs: Vec<f64> = points().map(|(x, _)| x).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let (first, last) = (*xs.first()?, *xs.last()?);
    let step = step(points().map(|(_, y)| y).fold(0.0, f64::max));
    let top = (points().map(|(_, y)| y).fold(0.0, f64::max) / step).ceil() * step;
    let at_x = |x: f64| LEFT + (x / first).log2() / (last / first).log2() * (WIDTH - LEFT - RIGHT);
    let at_y = |y: f64| HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{title}</text>\n"
    );
    let mut y = 0.0;
    while y <= top + step / 2.0 {
        let place = at_y(y);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{place:.1}\" x2=\"{:.1}\" y2=\"{place:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{y}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            place + 4.0
        );
        y += step;
    }
    for x in xs {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x}</text>",
            at_x(x),
            HEIGHT - BOTTOM + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x_name}</text>\
         <text x=\"14\" y=\"{:.1}\" transform=\"rotate(-90 14 {:.1})\" text-anchor=\"middle\">µs</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 10.0,
        HEIGHT / 2.0,
        HEIGHT / 2.0
    );
    for (index, (series, colour)) in series.iter().zip(COLOURS).enumerate() {
        let path: Vec<_> =
            series.points.iter().map(|(x, y)| format!("{:.1},{:.1}", at_x(*x), at_y(*y))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for point in &path {
            if let Some((x, y)) = point.split_once(',') {
                let _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>");
            }
        }
        let y = TOP + 10.0 + 20.0 * index as f64;
        let x = WIDTH - RIGHT + 20.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            y - 10.0,
            x + 18.0,
            series.name
        );
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// A round distance of lines that makes four to ten of them.
fn step(top: f64) -> f64 {
    let power = 10f64.powf(top.max(1e-9).log10().floor());
    let lines = top / power;
    power
        * if lines > 5.0 {
            1.0
        } else if lines > 2.0 {
            0.5
        } else {
            0.2
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn a_line_for_each_series_with_two_points() {
        let report = report();
        let svg = by_batch(&report).unwrap();
        // `after_commit` was measured at 32 and 512; one figure with threads is none of them.
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (1, 2));
        assert!(svg.contains(">after commit<") && svg.contains(">512<"));
        assert_eq!(by_members(&report).unwrap().matches("<circle").count(), 2);
    }

    #[test]
    fn two_bars_for_each_workload() {
        let turns = crate::execution::tests::turns();
        let svg = by_workload(&Report { turns, ..report() }).unwrap();
        assert!(svg.contains(">swaps<") && svg.contains(">mainnet-7<"));
        assert!(svg.contains(">1.60<") && svg.contains(">0.80<"));
        assert_eq!(by_workload(&report()), None);
    }

    #[test]
    fn points_lie_inside_the_axes() {
        let line = |points: &[(f64, f64)]| Series { name: "a".into(), points: points.to_vec() };
        let svg = draw("t", "x", &[line(&[(1.0, 0.0), (4.0, 50.0), (16.0, 200.0)])]).unwrap();
        assert!(svg.contains("points=\"70.0,350.0 300.0,272.5 530.0,40.0\""), "{svg}");
        assert_eq!(draw("t", "x", &[]), None);
        assert_eq!(draw("t", "x", &[line(&[(1.0, 1.0)])]), None);
    }

    #[test]
    fn lines_lie_at_round_numbers() {
        assert_eq!([7.0, 42.0, 110.0, 999.0].map(step), [1.0, 5.0, 20.0, 100.0]);
    }
}
