//! Events as lines on stderr.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{IsTerminal as _, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tree::{Event, Events};

/// Amount of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verbosity {
    /// Warnings only.
    Quiet,
    /// Warnings, notes, and progress on a terminal.
    #[default]
    Normal,
    /// All that, steps, and what commands in the sandbox print.
    Verbose,
}

/// Draws events on stderr: `warning:` and `note:` lines always go there, progress only on a terminal and only if it
/// takes longer than 250 ms, and, in lines, in the logs of CI. Nothing goes to stdout, which belongs to results.
pub struct Terminal {
    verbosity: Verbosity,
    progress: Progress,
    state: Mutex<State>,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// On a terminal that is so many columns wide.
    Drawn(usize),
    /// As a line now and then, for those who watch a log.
    Lines,
    /// Not at all.
    Off,
}

struct State {
    out: Box<dyn Write + Send>,
    started: Instant,
    drawn: Option<Instant>,
    on_screen: bool,
    step: String,
    tasks: BTreeMap<String, (u64, Option<u64>)>,
}

/// Nothing is drawn before.
const PATIENCE: Duration = Duration::from_millis(250);
const FRAME: Duration = Duration::from_millis(80);
/// In a log, what is over sooner gets no line.
const LONG: Duration = Duration::from_secs(1);
/// Between two lines of a log.
const LINE: Duration = Duration::from_secs(10);

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("verbosity", &self.verbosity).finish_non_exhaustive()
    }
}

impl Terminal {
    /// For this process's stderr.
    pub fn new(verbosity: Verbosity) -> Self {
        let stderr = std::io::stderr();
        let dumb = std::env::var_os("TERM").is_none_or(|t| t == "dumb");
        let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        let columns = || {
            rustix::termios::tcgetwinsize(&stderr).ok().map_or(80, |size| usize::from(size.ws_col).max(20))
        };
        let progress = match verbosity {
            Verbosity::Quiet => Progress::Off,
            _ if ci => Progress::Lines,
            _ if stderr.is_terminal() && !dumb => Progress::Drawn(columns()),
            _ => Progress::Off,
        };
        Self::on(Box::new(stderr), verbosity, progress)
    }

    fn on(out: Box<dyn Write + Send>, verbosity: Verbosity, progress: Progress) -> Self {
        let state = State {
            out,
            started: Instant::now(),
            drawn: None,
            on_screen: false,
            step: String::new(),
            tasks: BTreeMap::new(),
        };
        Terminal { verbosity, progress, state: Mutex::new(state) }
    }

    /// Takes progress off the screen, so that something else can be printed.
    pub fn clear(&self) {
        self.lock().erase();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event_at(&self, event: Event<'_>, now: Instant) {
        let mut state = self.lock();
        match event {
            Event::Step(text) => {
                if self.verbosity >= Verbosity::Verbose {
                    state.line("", &text);
                }
                state.step = clean(&text);
                state.started = now;
            }
            Event::Progress { task, done, total } => match state.tasks.get_mut(task) {
                Some(task) => *task = (done, total),
                None => {
                    if state.tasks.is_empty() {
                        state.started = now;
                    }
                    state.tasks.insert(task.to_owned(), (done, total));
                }
            },
            Event::Done { task } => {
                state.tasks.remove(task);
            }
            Event::Warning(text) => state.line("warning: ", &text),
            Event::Note(text) if self.verbosity >= Verbosity::Normal => state.line("note: ", &text),
            Event::Hint(text) if self.verbosity >= Verbosity::Normal => state.line("hint: ", &text),
            Event::Output(text) if self.verbosity >= Verbosity::Verbose => state.line("  | ", text),
            Event::Output(text) if self.progress != Progress::Off => state.step = clean(text),
            Event::Note(_) | Event::Hint(_) | Event::Output(_) => {}
        }
        match self.progress {
            Progress::Drawn(columns) => state.draw(columns, now),
            // What is verbose says more.
            Progress::Lines if self.verbosity < Verbosity::Verbose => state.log(now),
            Progress::Lines | Progress::Off => {}
        }
    }
}

impl Events for Terminal {
    fn event(&self, event: Event<'_>) {
        self.event_at(event, Instant::now());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.clear();
    }
}

impl State {
    // Nobody can be told if stderr is gone, so errors of writing go nowhere.
    fn line(&mut self, start: &str, text: &str) {
        self.erase();
        for line in text.lines() {
            let _ = writeln!(self.out, "{start}{}", clean(line));
        }
    }

    fn erase(&mut self) {
        if std::mem::take(&mut self.on_screen) {
            let _ = write!(self.out, "\r\x1b[K");
            let _ = self.out.flush();
        }
    }

    fn draw(&mut self, columns: usize, now: Instant) {
        if self.tasks.is_empty() && self.step.is_empty() {
            return self.erase();
        }
        let due = self.drawn.is_none_or(|last| now.saturating_duration_since(last) >= FRAME);
        let early = now.saturating_duration_since(self.started) < PATIENCE;
        if early || (self.on_screen && !due) {
            return;
        }
        let text: String = self.status().chars().take(columns - 1).collect();
        let _ = write!(self.out, "\r\x1b[K{text}");
        let _ = self.out.flush();
        self.on_screen = true;
        self.drawn = Some(now);
    }

    /// A line, if it is time for one.
    fn log(&mut self, now: Instant) {
        let idle = self.tasks.is_empty() && self.step.is_empty();
        let early = now.saturating_duration_since(self.started) < LONG;
        let lately = self.drawn.is_some_and(|last| now.saturating_duration_since(last) < LINE);
        if !(idle || early || lately) {
            let status = self.status();
            self.line("progress: ", &status);
            self.drawn = Some(now);
        }
    }

    /// The task that has most to do, and the number of the others.
    fn status(&self) -> String {
        let left = |&(done, total): &(u64, Option<u64>)| total.unwrap_or(u64::MAX).saturating_sub(done);
        let Some((name, &(done, total))) = self.tasks.iter().max_by_key(|(_, task)| left(task)) else {
            return self.step.clone();
        };
        let mut out = format!("{} {}", clean(name), megabytes(done));
        if let Some(total) = total.filter(|&t| t > 0) {
            let percent = u128::from(done.min(total)) * 100 / u128::from(total);
            out.push_str(&format!(" of {} MB ({percent} %)", megabytes(total)));
        } else {
            out.push_str(" MB");
        }
        match self.tasks.len() {
            1 => {}
            n => out.push_str(&format!(", {} more", n - 1)),
        }
        out
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

/// Text from outside must not move the cursor or ring the bell.
fn clean(text: &str) -> String {
    text.chars().map(|c| if tree::is_control(c) && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Screen {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    fn terminal(verbosity: Verbosity, progress: Progress) -> (Terminal, Screen, Instant) {
        let screen = Screen::default();
        let terminal = Terminal::on(Box::new(screen.clone()), verbosity, progress);
        (terminal, screen, Instant::now())
    }

    fn progress(done: u64) -> Event<'static> {
        Event::Progress { task: "layer", done, total: Some(4_000_000) }
    }

    #[test]
    fn progress_shows_after_a_while_and_goes_when_done() {
        let (terminal, screen, start) = terminal(Verbosity::Normal, Progress::Drawn(40));
        let at = |ms| start + Duration::from_millis(ms);
        terminal.event_at(progress(1), at(0));
        terminal.event_at(progress(1_000_000), at(249));
        assert_eq!(screen.take(), "");
        terminal.event_at(progress(2_000_000), at(250));
        assert_eq!(screen.take(), "\r\x1b[Klayer 2.0 of 4.0 MB (50 %)");
        terminal.event_at(progress(2_100_000), at(260));
        assert_eq!(screen.take(), "");
        terminal.event_at(Event::Warning("odd\x1b[2J".into()), at(265));
        assert_eq!(screen.take(), "\r\x1b[Kwarning: odd\u{fffd}[2J\n\r\x1b[Klayer 2.1 of 4.0 MB (52 %)");
        terminal.event_at(Event::Done { task: "layer" }, at(400));
        assert_eq!(screen.take(), "\r\x1b[K");
    }

    #[test]
    fn without_a_terminal_only_lines() {
        let (terminal, screen, start) = terminal(Verbosity::Normal, Progress::Off);
        terminal.event_at(progress(1), start);
        terminal.event_at(progress(2), start + Duration::from_secs(9));
        terminal.event_at(Event::Step("pulling".into()), start);
        terminal.event_at(Event::Output("unpacking"), start);
        terminal.event_at(Event::Note("installs b3sum".into()), start);
        drop(terminal);
        assert_eq!(screen.take(), "note: installs b3sum\n");
    }

    #[test]
    fn a_log_gets_a_line_now_and_then() {
        let (terminal, screen, start) = terminal(Verbosity::Normal, Progress::Lines);
        let at = |ms| start + Duration::from_millis(ms);
        terminal.event_at(progress(1), at(0));
        terminal.event_at(progress(1_000_000), at(999));
        assert_eq!(screen.take(), "");
        terminal.event_at(progress(2_000_000), at(1000));
        terminal.event_at(progress(3_000_000), at(10_999));
        assert_eq!(screen.take(), "progress: layer 2.0 of 4.0 MB (50 %)\n");
        terminal.event_at(progress(3_500_000), at(11_000));
        terminal.event_at(Event::Done { task: "layer" }, at(30_000));
        assert_eq!(screen.take(), "progress: layer 3.5 of 4.0 MB (87 %)\n");
    }

    #[test]
    fn verbosity_decides() {
        let all = |verbosity| {
            let (terminal, screen, start) = terminal(verbosity, Progress::Off);
            terminal.event_at(Event::Step("pulling".into()), start);
            terminal.event_at(Event::Output("unpacking"), start);
            terminal.event_at(Event::Note("n".into()), start);
            terminal.event_at(Event::Warning("w".into()), start);
            screen.take()
        };
        assert_eq!(all(Verbosity::Quiet), "warning: w\n");
        assert_eq!(all(Verbosity::Verbose), "pulling\n  | unpacking\nnote: n\nwarning: w\n");
    }
}
