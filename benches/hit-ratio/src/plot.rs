//! Draws hit ratios against capacity: a row a trace, requests on the left and bytes on the right.

use plotters::prelude::*;

use crate::Row;
use crate::trace::Trace;

const WIDTH: u32 = 840;
const HEIGHT: u32 = 220;

type Of = fn(&Row) -> f64;
type Line = (&'static str, RGBColor, Of);

const PANELS: [(&str, [Line; 3]); 2] = [
    (
        "requests",
        [
            ("optimum", RGBColor(150, 150, 150), |row| row.best.objects),
            ("LRU", RGBColor(200, 90, 40), |row| row.lru.objects),
            ("Edge", RGBColor(30, 90, 180), |row| row.edge.objects),
        ],
    ),
    (
        "bytes",
        [
            ("optimum", RGBColor(150, 150, 150), |row| row.best.bytes),
            ("LRU", RGBColor(200, 90, 40), |row| row.lru.bytes),
            ("Edge", RGBColor(30, 90, 180), |row| row.edge.bytes),
        ],
    ),
];

pub(crate) fn draw(file: &str, results: &[(&Trace, Vec<Row>)]) -> Result<(), String> {
    let size = (WIDTH, HEIGHT * results.len() as u32);
    let root = SVGBackend::new(file, size).into_drawing_area();
    let wrong = |error: &dyn std::fmt::Display| format!("{file}: {error}");
    root.fill(&WHITE).map_err(|error| wrong(&error))?;
    let areas = root.split_evenly((results.len(), PANELS.len()));
    for ((trace, rows), areas) in results.iter().zip(areas.chunks(PANELS.len())) {
        for ((what, lines), area) in PANELS.iter().zip(areas) {
            panel(area, &format!("{}: {what}", trace.name), lines, rows).map_err(|error| wrong(&error))?;
        }
    }
    root.present().map_err(|error| wrong(&error))
}

fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    title: &str,
    lines: &[Line],
    rows: &[Row],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let mib = |row: &Row| row.capacity as f64 / (1024.0 * 1024.0);
    let least = rows.iter().map(mib).fold(f64::MAX, f64::min);
    let most = rows.iter().map(mib).fold(least * 1.01, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 12))
        .margin(6)
        .x_label_area_size(28)
        .y_label_area_size(36)
        .build_cartesian_2d((least..most).log_scale(), 0.0..1.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .y_labels(6)
        .x_labels(5)
        .x_desc("MiB")
        .x_label_formatter(&|mib| format!("{mib:.0}"))
        .draw()?;
    for (name, color, of) in lines {
        let points = rows.iter().map(|row| (mib(row), of(row)));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(*name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 14, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .draw()
}
