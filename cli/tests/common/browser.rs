//! A page in Chromium without a window, driven over its DevTools protocol.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The names under which Chromium is looked for.
const PROGRAMS: [&str; 2] = ["chromium", "chromium-browser"];

/// The size of the window in pixels.
const WINDOW: (u32, u32) = (1600, 1000);

/// A browser with one page.
pub struct Browser {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: Option<String>,
    asked: u64,
    /// What the browser told of its own accord.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// A browser that shows a page; none, with the reason printed, where there is no Chromium.
    pub fn open(url: &str) -> Option<Browser> {
        let installed = |program: &&&str| {
            let run = Command::new(program).arg("--version").output();
            run.is_ok_and(|output| output.status.success())
        };
        let Some(program) = PROGRAMS.iter().find(installed) else {
            eprintln!("skipped: no {} is installed", PROGRAMS.join(" or "));
            return None;
        };
        let mut browser = Browser::start(program);
        let page = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let target = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", target);
        browser.session = attached["sessionId"].as_str().map(String::from);
        for domain in ["Runtime", "Log", "Network", "Page"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser.ask("Page.navigate", json!({ "url": url }));
        while !browser.told("Page.loadEventFired") {
            browser.receive();
        }
        Some(browser)
    }

    /// Starts Chromium, which reads commands from descriptor 3 and answers on 4: a shell puts its standard input
    /// and output there. It is ended after a while, so that a test cannot wait for it forever.
    fn start(program: &str) -> Browser {
        let profile = tempfile::tempdir().expect("a folder");
        let script = "exec timeout 300 \"$@\" 3<&0 4>&1 </dev/null >/dev/null";
        let mut process = Command::new("sh")
            .args(["-c", script, "sh", program])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={},{}", WINDOW.0, WINDOW.1))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Chromium starts");
        Browser {
            commands: process.stdin.take().expect("stdin is a pipe"),
            answers: BufReader::new(process.stdout.take().expect("stdout is a pipe")),
            process,
            session: None,
            asked: 0,
            events: vec![],
            _profile: profile,
        }
    }

    /// The answer to a command.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut command = json!({ "id": self.asked, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut message = command.to_string().into_bytes();
        message.push(0);
        self.commands
            .write_all(&message)
            .expect("Chromium reads a command");
        loop {
            let mut message = self.receive();
            if message["id"] == json!(self.asked) {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].take();
            }
        }
    }

    /// The next message; what is told and not answered is kept.
    fn receive(&mut self) -> Value {
        let mut message = vec![];
        self.answers
            .read_until(0, &mut message)
            .expect("Chromium answers");
        assert_eq!(message.pop(), Some(0), "Chromium ended");
        let message: Value = serde_json::from_slice(&message).expect("a message is JSON");
        if message["method"].is_string() {
            self.events.push(message.clone());
        }
        message
    }

    fn told(&self, method: &str) -> bool {
        self.events.iter().any(|event| event["method"] == method)
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let mut answer = self.ask("Runtime.evaluate", params);
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression}");
        answer["result"]["value"].take()
    }

    /// Presses and releases the mouse on the middle of the one element of a selector, which must not be covered.
    pub fn click(&mut self, selector: &str) {
        let named = json!(selector);
        let place = self.value(&format!(
            "(() => {{
                const all = document.querySelectorAll({named});
                const {{ left, top, width, height }} = all[0].getBoundingClientRect();
                const [x, y] = [left + width / 2, top + height / 2];
                const hit = all[0].contains(document.elementFromPoint(x, y));
                return {{ x, y, only: all.length === 1, hit }};
            }})()"
        ));
        assert_eq!(place["only"], json!(true), "{selector} names one element");
        assert_eq!(place["hit"], json!(true), "{selector} can be clicked");
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            self.ask(
                "Input.dispatchMouseEvent",
                json!({ "type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1 }),
            );
        }
    }

    /// Presses and releases a key.
    pub fn key(&mut self, key: &str) {
        for kind in ["rawKeyDown", "keyUp"] {
            let params = json!({ "type": kind, "key": key, "code": key });
            self.ask("Input.dispatchKeyEvent", params);
        }
    }

    /// Types a text where the focus is.
    pub fn type_text(&mut self, text: &str) {
        self.ask("Input.insertText", json!({ "text": text }));
    }

    /// Exceptions, and what was logged as a warning or an error.
    pub fn complaints(&mut self) -> Vec<String> {
        // What was told before this answer is read with it.
        self.value("0");
        let bad = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => ["error", "warning", "assert"]
                .contains(&event["params"]["type"].as_str().unwrap_or("")),
            Some("Log.entryAdded") => true,
            _ => false,
        };
        self.events
            .iter()
            .filter(bad)
            .map(|e| e.to_string())
            .collect()
    }

    /// The addresses of all that was loaded.
    pub fn requests(&mut self) -> Vec<String> {
        self.value("0");
        let sent = self
            .events
            .iter()
            .filter(|e| e["method"] == "Network.requestWillBeSent");
        let urls = sent.map(|e| {
            e["params"]["request"]["url"]
                .as_str()
                .unwrap_or("")
                .to_string()
        });
        urls.collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Where it has ended by itself, there is nothing left to do.
        let _ = self
            .commands
            .write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.process.wait();
    }
}
