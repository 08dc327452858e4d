//! Plots as SVG: lines, points and bars over two axes, with a legend that covers no data.
//!
//! The same plot gives the same bytes on every machine: coordinates are whole pixels, logarithms are libm's, and the
//! file holds no date and no font, only the name `sans-serif`. Lines are thinned to what a pixel column can show, so a
//! file stays small whatever the run was.
//!
//! ```
//! use selvedge_sim::plot::{Axis, Plot};
//! let svg = Plot::new("Tips over time", Axis::new("time, s"), Axis::new("tips").from(0.0))
//!     .line("measured", [(0.0, 1.0), (1.0, 7.5), (2.0, 8.1)])
//!     .dashed("theory", [(0.0, 8.0), (2.0, 8.0)])
//!     .to_svg()?;
//! assert!(svg.starts_with("<svg"));
//! # Ok::<(), selvedge_sim::plot::Error>(())
//! ```

mod axis;

use std::path::{Path, PathBuf};

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, IntoDrawingArea as _};
use plotters::element::{Circle, DashedPathElement, PathElement, Rectangle, Text};
use plotters::style::{Color as _, IntoFont as _, RGBColor, ShapeStyle};

pub use axis::Axis;
use axis::Laid;

/// Pixels of a plot, without its legend.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 400;
/// Pixels of one line of the legend, of its mark, and of a letter on average.
const LEGEND_LINE: i32 = 20;
const LEGEND_MARK: i32 = 22;
const LETTER: u32 = 7;
/// Ticks of an axis, at most.
const TICKS: usize = 8;
/// Columns that a line is thinned to: about two a pixel.
const COLUMNS: f64 = 1_200.0;
/// Eight that people with any sight of colours tell apart (Okabe and Ito, "Color Universal Design", 2008).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
    RGBColor(160, 150, 0),
];
const GRID: RGBColor = RGBColor(225, 225, 225);

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No point can be shown.
    #[error(
        "the plot \"{0}\" has no point to show: none is finite, within the bounds of its axes and, on a log axis, above 0"
    )]
    Empty(String),
    /// The drawing library refused.
    #[error("the plot \"{title}\" cannot be drawn: {why}")]
    Draw {
        /// Of the plot.
        title: String,
        /// What it said.
        why: String,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}; the folder must exist and be writable", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Line,
    Dashed,
    Points,
    Bars,
}

#[derive(Debug, Clone)]
struct Series {
    name: String,
    kind: Kind,
    /// Which of the colours.
    colour: usize,
    points: Vec<(f64, f64)>,
}

/// A plot being put together.
#[derive(Debug, Clone)]
pub struct Plot {
    title: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
}

impl Plot {
    /// An empty one.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: title.into(), x, y, series: Vec::new() }
    }

    /// A line through points in the order given, in a colour of its own. An empty name stays out of the legend.
    #[must_use]
    pub fn line(self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.with(name, Kind::Line, points)
    }

    /// A dashed line, for theory and limits.
    #[must_use]
    pub fn dashed(self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.with(name, Kind::Dashed, points)
    }

    /// Points that no line connects.
    #[must_use]
    pub fn points(self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.with(name, Kind::Points, points)
    }

    /// A histogram: at each x a bar as high as y. Several stand side by side.
    #[must_use]
    pub fn bars(self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.with(name, Kind::Bars, points)
    }

    /// The next series has the colour of the last one: the theory of what was just drawn.
    #[must_use]
    pub fn same_colour(mut self) -> Self {
        let last = self.series.last().map_or(0, |series| series.colour);
        self.series.push(Series { name: String::new(), kind: Kind::Line, colour: last, points: Vec::new() });
        self
    }

    fn with(
        mut self,
        name: impl Into<String>,
        kind: Kind,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        let points = points.into_iter().filter(|(x, y)| self.x.admits(*x) && self.y.admits(*y)).collect();
        // The empty series of `same_colour` hands its colour on.
        let colour = match self.series.pop_if(|last| last.points.is_empty() && last.name.is_empty()) {
            Some(asked) => asked.colour,
            None => self.series.iter().map(|series| series.colour + 1).max().unwrap_or(0),
        };
        self.series.push(Series { name: name.into(), kind, colour, points });
        self
    }

    /// The plot as the text of an SVG file.
    ///
    /// # Errors
    /// When no point can be shown.
    pub fn to_svg(&self) -> Result<String, Error> {
        let empty = || Error::Empty(self.title.clone());
        let points = || self.series.iter().flat_map(|series| &series.points);
        let half = self.bar_distance() / 2.0;
        let x = self.x.over(points().flat_map(|(x, _)| [x - half, x + half]).filter(|x| self.x.admits(*x)));
        let has_bars = self.series.iter().any(|series| series.kind == Kind::Bars) && !self.y.is_log();
        let y = self.y.over(points().map(|(_, y)| *y).chain(has_bars.then_some(0.0)));
        let (x, y) = (x.ok_or_else(empty)?, y.ok_or_else(empty)?);
        if points().next().is_none() {
            return Err(empty());
        }
        let mut svg = String::new();
        self.draw(&mut svg, &x, &y).map_err(|why| Error::Draw { title: self.title.clone(), why })?;
        // One element a line, and no blank at its end.
        Ok(svg.lines().flat_map(|line| [line.trim_end(), "\n"]).collect())
    }

    /// Writes the SVG file, whole or over what was there.
    ///
    /// # Errors
    /// As [`Plot::to_svg`], and when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let svg = self.to_svg()?;
        std::fs::write(path, svg).map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    /// The least distance between two neighbouring bars; 0 without bars.
    fn bar_distance(&self) -> f64 {
        let bars = self.series.iter().filter(|series| series.kind == Kind::Bars);
        let gaps = bars
            .clone()
            .flat_map(|series| series.points.windows(2).map(|pair| (pair[1].0 - pair[0].0).abs()));
        let least = gaps.filter(|gap| *gap > 0.0).fold(f64::INFINITY, f64::min);
        match (bars.count(), least.is_finite()) {
            (0, _) => 0.0,
            (_, true) => least,
            (_, false) => 1.0,
        }
    }

    fn legend(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(|series| !series.name.is_empty())
    }

    fn draw(&self, svg: &mut String, x: &Laid, y: &Laid) -> Result<(), String> {
        let longest = self.legend().map(|series| series.name.chars().count()).max();
        let legend = longest.map_or(12, |letters| letters as u32 * LETTER + LEGEND_MARK as u32 + 24);
        let root = SVGBackend::with_string(svg, (WIDTH + legend, HEIGHT)).into_drawing_area();
        root.fill(&RGBColor(255, 255, 255)).map_err(text_of)?;
        let (area, side) = root.split_horizontally(WIDTH);
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 17).into_font())
            .margin(8)
            .margin_right(14)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(x.clone(), y.clone())
            .map_err(text_of)?;
        chart
            .configure_mesh()
            .x_labels(TICKS)
            .y_labels(TICKS)
            .max_light_lines(0)
            .bold_line_style(GRID)
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 14))
            .x_desc(&self.x.name)
            .y_desc(&self.y.name)
            .draw()
            .map_err(text_of)?;
        let mut bars_drawn = 0;
        for series in &self.series {
            if series.kind == Kind::Bars {
                self.draw_bars(&mut chart, series, bars_drawn, y.least()).map_err(text_of)?;
                bars_drawn += 1;
            } else {
                draw_series(&mut chart, series, x).map_err(text_of)?;
            }
        }
        for (line, series) in self.legend().enumerate() {
            draw_legend(&side, series, 40 + line as i32 * LEGEND_LINE).map_err(text_of)?;
        }
        root.present().map_err(text_of)
    }

    /// The bars of a series, as the `nth` beside the others.
    fn draw_bars(
        &self,
        chart: &mut Chart<'_, '_>,
        series: &Series,
        nth: usize,
        least: f64,
    ) -> Result<(), DrawError<'_>> {
        let all = self.series.iter().filter(|series| series.kind == Kind::Bars).count();
        let width = 0.8 * self.bar_distance() / all as f64;
        let style = series.colour().filled();
        let base = if self.y.is_log() { least } else { 0.0 };
        chart.draw_series(series.points.iter().map(|(x, y)| {
            let left = x + width * (nth as f64 - all as f64 / 2.0);
            Rectangle::new([(left, base), (left + width, *y)], style)
        }))?;
        Ok(())
    }
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Laid, Laid>>;
type DrawError<'a> =
    plotters::drawing::DrawingAreaErrorKind<<SVGBackend<'a> as plotters::backend::DrawingBackend>::ErrorType>;

impl Series {
    const fn colour(&self) -> RGBColor {
        COLOURS[self.colour % COLOURS.len()]
    }

    fn style(&self) -> ShapeStyle {
        self.colour().stroke_width(2)
    }
}

fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn draw_series<'a>(chart: &mut Chart<'_, '_>, series: &Series, x: &Laid) -> Result<(), DrawError<'a>> {
    match series.kind {
        Kind::Line => {
            chart.draw_series([PathElement::new(thinned(&series.points, x), series.style())])?;
        }
        Kind::Dashed => {
            let points = thinned(&series.points, x);
            chart.draw_series([DashedPathElement::new(points, 6, 5, series.style())])?;
        }
        Kind::Points => {
            chart.draw_series(
                series.points.iter().map(|point| Circle::new(*point, 3, series.colour().filled())),
            )?;
        }
        Kind::Bars => {}
    }
    Ok(())
}

fn draw_legend<'a>(
    side: &DrawingArea<SVGBackend<'a>, Shift>,
    series: &Series,
    y: i32,
) -> Result<(), DrawError<'a>> {
    match series.kind {
        Kind::Line => side.draw(&PathElement::new(vec![(4, y), (LEGEND_MARK, y)], series.style()))?,
        Kind::Dashed => {
            side.draw(&PathElement::new(vec![(4, y), (10, y)], series.style()))?;
            side.draw(&PathElement::new(vec![(15, y), (LEGEND_MARK - 1, y)], series.style()))?;
        }
        Kind::Points => side.draw(&Circle::new((13, y), 3, series.colour().filled()))?,
        Kind::Bars => {
            side.draw(&Rectangle::new([(6, y - 5), (LEGEND_MARK - 2, y + 5)], series.colour().filled()))?;
        }
    }
    side.draw(&Text::new(series.name.clone(), (LEGEND_MARK + 6, y - 7), ("sans-serif", 13)))
}

/// Of the points that fall into one column the first, the lowest, the highest and the last: it looks the same.
fn thinned(points: &[(f64, f64)], x: &Laid) -> Vec<(f64, f64)> {
    if points.len() <= COLUMNS as usize {
        return points.to_vec();
    }
    let column = |point: &(f64, f64)| libm::floor(x.part(point.0) * COLUMNS) as i64;
    points
        .chunk_by(|a, b| column(a) == column(b))
        .flat_map(|same| {
            let places = || 0..same.len();
            let lowest = places().min_by(|a, b| same[*a].1.total_cmp(&same[*b].1)).unwrap_or(0);
            let highest = places().max_by(|a, b| same[*a].1.total_cmp(&same[*b].1)).unwrap_or(0);
            let mut kept = [0, lowest, highest, same.len() - 1];
            kept.sort_unstable();
            let mut kept = kept.to_vec();
            kept.dedup();
            kept.into_iter().map(|place| same[place])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> (Axis, Axis) {
        (Axis::new("age, s"), Axis::new("weight").log())
    }

    #[test]
    fn a_plot_is_the_same_each_time_and_names_what_it_shows() {
        let (x, y) = axes();
        let plot = Plot::new("Growth & such", x, y)
            .line("measured", (1..50).map(|n| (f64::from(n), f64::from(n * n))))
            .same_colour()
            .dashed("theory", [(1.0, 1.0), (49.0, 2_401.0)])
            .points("a few", [(3.0, 9.0)]);
        let svg = plot.to_svg().expect("points");
        assert_eq!(svg, plot.clone().to_svg().expect("points"));
        for expected in [
            "<svg",
            "Growth &amp; such",
            "age, s",
            "weight",
            "measured",
            "theory",
            "a few",
            "1,000",
            "</svg>",
        ] {
            assert!(svg.contains(expected), "{expected} is missing in {svg}");
        }
        // The line and its theory share the first colour; the points have the second.
        assert!(svg.contains("#0072B2") && svg.contains("#D55E00") && !svg.contains("#009E73"));
    }

    #[test]
    fn bars_begin_at_zero() {
        let plot = Plot::new("Histogram", Axis::new("approvers"), Axis::new("transactions"))
            .bars("run", [(0.0, 5.0), (1.0, 8.0)]);
        let svg = plot.to_svg().expect("bars");
        assert_eq!(svg.matches("#0072B2").count(), 3, "two bars and the legend");
        assert!(svg.contains(">\n0\n</text>"));
    }

    #[test]
    fn what_cannot_be_shown_is_left_out_or_refused() {
        let (x, y) = axes();
        let refused = Plot::new("Nothing", x, y).line("a", [(1.0, 0.0), (f64::NAN, 1.0)]).to_svg();
        assert!(refused.expect_err("no point").to_string().contains("\"Nothing\" has no point to show"));
        let missing = Path::new("no such folder").join("plot.svg");
        let plot = Plot::new("One", Axis::new("x"), Axis::new("y")).points("p", [(1.0, 1.0)]);
        assert!(plot.write(&missing).expect_err("no folder").to_string().contains("no such folder/plot.svg"));
    }

    #[test]
    fn a_long_line_keeps_its_peaks() {
        let points: Vec<(f64, f64)> =
            (0..100_000).map(|n| (f64::from(n), if n == 70_707 { 9.0 } else { f64::from(n % 3) })).collect();
        let laid = Axis::new("x").over(points.iter().map(|point| point.0)).expect("points");
        let thin = thinned(&points, &laid);
        assert!(
            thin.len() <= 4 * (COLUMNS as usize + 1) && thin.contains(&(70_707.0, 9.0)),
            "{}",
            thin.len()
        );
        assert_eq!((thin.first(), thin.last()), (points.first(), points.last()));
    }
}
