//! The screen of `top`, drawn from what was seen. Pure: time and zone are passed in.

use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline};

use super::super::screen::ascii;
use super::history::{History, Point};
use crate::admin::Report;
use crate::admin::report::human::{bytes, count, duration, rate};
use crate::clock::Millis;
use crate::moment::local;

/// What surrounds the reports.
pub struct Setting<'a> {
    /// Unix milliseconds.
    pub now: Millis,
    /// For times of day.
    pub zone: &'a TimeZone,
    /// Whether colours are shown.
    pub is_coloured: bool,
    /// Whether nothing but ASCII is.
    pub is_ascii: bool,
}

/// Draws everything. Made for 80 columns and 24 rows; more room makes longer curves.
pub fn draw(frame: &mut Frame<'_>, history: &History, setting: &Setting<'_>) {
    let [head, curves, foot, help] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Min(8),
        Constraint::Length(5),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(head_lines(history, setting)), head);
    draw_curves(frame, history, curves);
    if let Some(report) = &history.report {
        frame.render_widget(Paragraph::new(foot_lines(report, setting)), foot);
    }
    let keys = "q, Esc or Ctrl-C quits";
    frame.render_widget(Paragraph::new(keys).style(Style::new().dim()), help);
    for cell in &mut frame.buffer_mut().content {
        if !setting.is_coloured {
            // What is bold or dim stays so.
            cell.set_fg(Color::Reset).set_bg(Color::Reset);
        }
        if setting.is_ascii && !cell.symbol().is_ascii() {
            let plain: String = cell.symbol().chars().take(1).map(ascii).collect();
            cell.set_symbol(&plain);
        }
    }
}

fn head_lines<'a>(history: &History, setting: &Setting<'_>) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    if let Some((since, why)) = &history.away {
        let at = local(*since, setting.now, setting.zone);
        let text = format!(
            "THE DAEMON IS AWAY since {at} ({}): {why}",
            duration(setting.now - since)
        );
        lines.push(Line::styled(text, alarm()));
    }
    let Some(report) = &history.report else {
        return lines;
    };
    let mut head = vec![
        Span::raw(format!("pinrelay {}  ", report.version)),
        Span::styled(report.state.clone(), style_of(&report.state)),
    ];
    if report.test_mode {
        head.push(Span::styled("  TEST MODE", alarm()));
    }
    head.push(Span::raw(format!(
        "  up {}",
        duration(report.now - report.started_at)
    )));
    for why in &report.not_accepting {
        head.push(Span::styled(format!("  NOT ACCEPTING: {why}"), alarm()));
    }
    lines.push(Line::from(head));
    lines.push(Line::raw(format!(
        "gate    {}",
        report.gate_line(setting.zone)
    )));
    let mut queued = format!(
        "queued  {}, {} sending, {} in doubt",
        count(report.queued),
        count(report.sending),
        count(report.in_doubt)
    );
    if let Some(age) = report.oldest_age_seconds {
        queued.push_str(&format!(", oldest {}", duration(age * 1000)));
    }
    lines.push(Line::raw(queued));
    lines
}

fn draw_curves(frame: &mut Frame<'_>, history: &History, area: Rect) {
    let halves = [Constraint::Fill(1), Constraint::Fill(1)];
    let [upper, lower] = Layout::vertical(halves).areas(area);
    let [accepted, delivered] = Layout::horizontal(halves).areas(upper);
    let [latency, backlog] = Layout::horizontal(halves).areas(lower);
    let per_second = |value: f64| format!("{}/s", rate(value));
    let curve = |of: fn(&Point) -> f64, area: Rect| history.last(inner(area), of);
    let values = curve(|p| p.accepted, accepted);
    draw_curve(
        frame,
        accepted,
        "accepted",
        &values,
        per_second,
        Color::Cyan,
    );
    let values = curve(|p| p.delivered, delivered);
    draw_curve(
        frame,
        delivered,
        "delivered",
        &values,
        per_second,
        Color::Green,
    );
    let values = curve(|p| p.latency, latency);
    let millis = |value: f64| format!("{} ms", rate(value));
    draw_curve(frame, latency, "latency", &values, millis, Color::Yellow);
    let values = curve(|p| p.backlog, backlog);
    let events = |value: f64| count(value as u64);
    draw_curve(frame, backlog, "backlog", &values, events, Color::Magenta);
}

/// Columns within the frame.
fn inner(area: Rect) -> usize {
    usize::from(area.width.saturating_sub(2))
}

fn draw_curve(
    frame: &mut Frame<'_>,
    area: Rect,
    name: &str,
    values: &[f64],
    show: impl Fn(f64) -> String,
    color: Color,
) {
    let last = values.last().copied().unwrap_or_default();
    let most = values.iter().copied().fold(0.0, f64::max);
    let title = format!(" {name}: {}, at most {} ", show(last), show(most));
    let block = Block::new().borders(Borders::ALL).title(title);
    // In tenths, so that less than one is seen too.
    let heights: Vec<u64> = values.iter().map(|value| (value * 10.0) as u64).collect();
    let curve = Sparkline::default()
        .block(block)
        .data(&heights)
        .style(Style::new().fg(color));
    frame.render_widget(curve, area);
}

fn foot_lines<'a>(report: &Report, setting: &Setting<'_>) -> Vec<Line<'a>> {
    let since = &report.since_start;
    let ledger = &report.ledger;
    let mut lines = vec![Line::raw(format!(
        "since start  {} accepted, {} delivered, {} dead",
        count(since.accepted),
        count(since.delivered),
        count(since.dead)
    ))];
    let mut dead = format!("dead letters {}", count(report.dead_total));
    if let Some(notes) = report.notes_line() {
        dead.push_str(&format!("; {notes}"));
    }
    lines.push(Line::raw(dead));
    let disk = &report.disk;
    lines.push(Line::raw(match disk.unknown {
        true => "disk         unknown".to_owned(),
        false => format!(
            "disk         {} of {}, {} free",
            bytes(disk.used),
            bytes(disk.quota),
            bytes(disk.free)
        ),
    }));
    lines.push(match ledger.ledger_imbalance {
        0 => Line::raw(format!(
            "ledger       holds: {} accepted",
            count(ledger.accepted)
        )),
        off => Line::styled(format!("ledger       OFF BY {off}"), alarm()),
    });
    if let Some(error) = &report.delivery.last_error {
        let at = local(error.at, setting.now, setting.zone);
        lines.push(Line::raw(format!("last error   {at} {}", error.message)));
    }
    lines
}

fn alarm() -> Style {
    Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
}

fn style_of(state: &str) -> Style {
    match state {
        "delivering" => Style::new().fg(Color::Green),
        "parked" => alarm(),
        _ => Style::new().fg(Color::Yellow),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::admin::{Gate, Ledger};

    const NOW: Millis = 784_111_777_000;

    fn screen(history: &History, width: u16, height: u16) -> Vec<String> {
        let backend = TestBackend::new(width, height);
        let mut terminal = Terminal::new(backend).expect("a terminal in memory");
        let setting = Setting {
            now: NOW,
            zone: &TimeZone::UTC,
            is_coloured: false,
            is_ascii: false,
        };
        let drawn = terminal.draw(|frame| draw(frame, history, &setting));
        let buffer = drawn.expect("drawn").buffer;
        assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset));
        let rows = buffer.content().chunks(usize::from(width));
        let text =
            |row: &[ratatui::buffer::Cell]| -> String { row.iter().map(|c| c.symbol()).collect() };
        rows.map(text).collect()
    }

    fn report(second: i64) -> Report {
        Report {
            version: "0.1.0".into(),
            state: "delivering".into(),
            gate: Gate {
                state: "open".into(),
                ..Gate::default()
            },
            now: NOW - 100_000 + second * 1000,
            started_at: NOW - 3_725_000,
            queued: 40 * second as u64,
            oldest_age_seconds: Some(61),
            ledger: Ledger {
                accepted: (second * second) as u64,
                ..Ledger::default()
            },
            ..Report::default()
        }
    }

    #[test]
    fn everything_is_on_a_screen_of_80_by_24() {
        let mut history = History::default();
        (0..100).for_each(|second| history.answered(report(second)));
        let rows = screen(&history, 80, 24);
        let text = rows.join("\n");
        for says in [
            "pinrelay 0.1.0  delivering  up 1 h 2 min",
            "gate    open",
            "queued  3,960, 0 sending, 0 in doubt, oldest 1 min 1 s",
            "accepted: 197/s, at most 197/s",
            "delivered: 0.0/s",
            "latency: 0.0 ms",
            "backlog: 3,960, at most 3,960",
            "ledger       holds: 9,801 accepted",
            "q, Esc or Ctrl-C quits",
        ] {
            assert!(text.contains(says), "{says}\n{text}");
        }
        // The curve rises: its last column is full where its first is not.
        let bars = rows.iter().filter(|row| row.contains('█')).count();
        assert!(bars >= 2, "{text}");
        assert!(text.contains('▁') || text.contains('▄'), "{text}");
    }

    /// Events come in evenly; for ten seconds none could be delivered, then they caught up.
    fn after_an_outage() -> History {
        let mut history = History::default();
        let (mut accepted, mut delivered) = (182_400u64, 182_400u64);
        let mut requests = crate::admin::Took::default();
        for second in 0..60u64 {
            accepted += 140 + second * 37 % 60;
            let out = (30..40).contains(&second);
            if !out {
                let millis = 45 + second * 13 % 20 + 4 * (accepted - delivered) / 100;
                delivered = accepted.min(delivered + 400);
                requests.count += 4;
                requests.seconds += 4.0 * millis as f64 / 1000.0;
            }
            history.answered(Report {
                version: "0.1.0".into(),
                state: "delivering".into(),
                gate: Gate {
                    state: "open".into(),
                    ..Gate::default()
                },
                now: NOW - 60_000 + second as i64 * 1000,
                started_at: NOW - 5_400_000,
                queued: accepted - delivered,
                oldest_age_seconds: (accepted > delivered).then_some(2),
                since_start: crate::admin::SinceStart {
                    accepted: accepted - 9_000,
                    delivered: delivered - 9_000,
                    dead: 3,
                    message_ids_made: 0,
                },
                requests,
                disk: crate::queue::Disk {
                    used: 18 << 20,
                    quota: 8 << 30,
                    free: 38 << 30,
                    ..crate::queue::Disk::default()
                },
                dead_total: 3,
                ledger: Ledger {
                    accepted,
                    delivered,
                    ..Ledger::default()
                },
                delivery: crate::deliver::Status {
                    last_error: Some(crate::deliver::LastError {
                        at: NOW - 21_000,
                        message: "HTTP 503: Service Unavailable".into(),
                    }),
                    ..crate::deliver::Status::default()
                },
                ..Report::default()
            });
        }
        history
    }

    #[test]
    fn the_page_for_operators_shows_this_screen() {
        let page = include_str!("../../../docs/operations.md");
        let block = page.split("```text\n$ pinrelay top\n").nth(1);
        let block = block.and_then(|rest| rest.split("```").next());
        let rows = screen(&after_an_outage(), 80, 24);
        let rows: Vec<_> = rows.iter().map(|row| row.trim_end()).collect();
        let shown: Vec<_> = block.expect("the screen").lines().collect();
        assert_eq!(shown, rows, "{}", rows.join("\n"));
    }

    #[test]
    fn the_daemon_goes_away_and_comes_back() {
        let mut history = History::default();
        history.answered(report(0));
        history.silent(NOW - 12_000, "no answer".into());
        let text = screen(&history, 80, 24).join("\n");
        let away = "THE DAEMON IS AWAY since 08:49:25Z (12 s): no answer";
        assert!(text.contains(away), "{text}");
        // What was known last is still there.
        assert!(text.contains("gate    open"), "{text}");
        history.answered(report(1));
        assert!(!screen(&history, 80, 24).join("\n").contains("AWAY"));
    }

    #[test]
    fn no_screen_is_too_small() {
        let mut history = History::default();
        screen(&history, 80, 24);
        history.answered(report(1));
        for (width, height) in [(1, 1), (20, 5), (79, 13), (200, 60)] {
            screen(&history, width, height);
        }
    }
}
