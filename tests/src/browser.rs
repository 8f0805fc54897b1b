//! A real browser: headless Chromium, driven by the DevTools protocol over a pair of pipes.
//! <https://chromedevtools.github.io/devtools-protocol/>

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A page in a browser of its own.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    number: u64,
    session: String,
    /// URLs that the page asked for.
    requests: Vec<String>,
    /// What scripts complained of.
    errors: Vec<String>,
}

/// The browser reads commands from descriptor 3 and answers on 4.
const START: &str = "exec chromium-headless-shell --remote-debugging-pipe --no-sandbox --disable-gpu \
                     --disable-dev-shm-usage --hide-scrollbars --user-data-dir=\"$1\" about:blank \
                     3<&0 4>&1 </dev/null >/dev/null 2>&1";

impl Browser {
    /// Starts one with an empty page. `profile` is a directory for it.
    ///
    /// # Errors
    /// It isn't installed, or doesn't answer.
    pub fn start(profile: &Path) -> Result<Browser> {
        let mut child = Command::new("sh")
            .args(["-c", START, "browser"])
            .arg(profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("sh")?;
        let commands = child.stdin.take().context("stdin")?;
        let answers = BufReader::new(child.stdout.take().context("stdout")?);
        let (requests, errors) = (Vec::new(), Vec::new());
        let mut browser =
            Browser { child, commands, answers, number: 0, session: String::new(), requests, errors };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attached = browser
            .call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }))?;
        browser.session = attached["sessionId"].as_str().context("sessionId")?.to_owned();
        for domain in ["Page", "Runtime", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    /// One command; its result.
    ///
    /// # Errors
    /// The browser's.
    pub fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.number += 1;
        let number = self.number;
        let mut message = json!({ "id": number, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.commands.write_all(message.to_string().as_bytes())?;
        self.commands.write_all(b"\0")?;
        self.commands.flush()?;
        loop {
            let answer = self.next()?;
            if answer["id"].as_u64() == Some(number) {
                match answer.get("error") {
                    Some(error) => bail!("{method}: {error}"),
                    None => return Ok(answer["result"].clone()),
                }
            }
        }
    }

    /// The next message, noted if it tells of a request or an error.
    fn next(&mut self) -> Result<Value> {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes)?;
        if bytes.pop() != Some(0) {
            bail!("the browser ended; install the packages that tests/packages.txt names");
        }
        let message: Value = serde_json::from_slice(&bytes)?;
        let parameters = &message["params"];
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                self.requests.push(parameters["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            Some("Runtime.exceptionThrown") => {
                self.errors.push(parameters["exceptionDetails"].to_string());
            }
            _ => {}
        }
        Ok(message)
    }

    /// Shows a page in a window of this size, and waits until it is loaded.
    ///
    /// # Errors
    /// The browser's.
    pub fn open(&mut self, url: &str, width: u32, height: u32) -> Result<()> {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", metrics)?;
        let went = self.call("Page.navigate", json!({ "url": url }))?;
        if let Some(error) = went.get("errorText") {
            bail!("{url}: {error}");
        }
        // Asked of the new document, since events of the old one may still be on their way.
        let loaded = "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))";
        self.evaluate(loaded).map(drop)
    }

    /// The value of an expression; a promise's if it is one.
    ///
    /// # Errors
    /// It throws.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true });
        let result = self.call("Runtime.evaluate", parameters)?;
        match result.get("exceptionDetails") {
            Some(details) => bail!("{expression}: {details}"),
            None => Ok(result["result"]["value"].clone()),
        }
    }

    /// Types text, as a keyboard would.
    ///
    /// # Errors
    /// The browser's.
    pub fn text(&mut self, text: &str) -> Result<()> {
        for c in text.chars() {
            let key = c.to_string();
            self.call("Input.dispatchKeyEvent", json!({ "type": "keyDown", "text": key, "key": key }))?;
            self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key }))?;
        }
        Ok(())
    }

    /// Presses a key: "Tab", "Enter", " ", "ArrowRight", "/".
    ///
    /// # Errors
    /// The browser's.
    pub fn press(&mut self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            "ArrowRight" => (39, ""),
            "/" => (191, "/"),
            _ => bail!("no such key here: {key:?}"),
        };
        let event = |kind: &str| {
            let mut event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            event
        };
        self.call("Input.dispatchKeyEvent", event("keyDown"))?;
        self.call("Input.dispatchKeyEvent", event("keyUp")).map(drop)
    }

    /// A picture of the window, PNG.
    ///
    /// # Errors
    /// The browser's.
    pub fn screenshot(&mut self) -> Result<Vec<u8>> {
        use base64::Engine as _;
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }))?;
        let data = shot["data"].as_str().context("data")?;
        Ok(base64::engine::general_purpose::STANDARD.decode(data)?)
    }

    /// URLs that the page asked for so far.
    pub fn requests(&self) -> &[String] {
        &self.requests
    }

    /// What scripts complained of so far.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
