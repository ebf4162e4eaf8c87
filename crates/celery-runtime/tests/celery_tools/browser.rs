//! A headless Chromium that is told what to do over two pipes, in the DevTools protocol: messages are JSON, each with a zero
//! byte behind it. It ends when its input does, so that none is left whatever becomes of the test.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{lab::SOON, png};

pub const WIDTH: u32 = 1400;
pub const HEIGHT: u32 = 900;

/// Nothing is fetched, synchronised or looked up but what the pages under test ask of loopback.
const FLAGS: [&str; 18] = [
    "--remote-debugging-pipe",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// Notices vanish after seconds, which may be shorter than this test is held up: they are kept as they come.
const KEEP_NOTICES: &str = "
    window.notices = [];
    new MutationObserver(changes => changes.forEach(change => change.addedNodes.forEach(node => {
        if (node.querySelector) window.notices.push(...[...node.querySelectorAll('.toast-body')].map(toast => toast.textContent));
    }))).observe(document, {childList: true, subtree: true});
";

/// One page.
pub struct Browser {
    child: Child,
    // Gone first when this is dropped.
    input: Option<ChildStdin>,
    output: Receiver<Value>,
    page: Option<String>,
    calls: u64,
    requested: Vec<String>,
    screenshots: PathBuf,
    profile: TempDir,
}

impl Browser {
    /// Starts it with an empty profile. Its screenshots go below the target directory, to `tmp/NAME-UID`.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn start(name: &str) -> Self {
        let profile = TempDir::new().unwrap();
        let uid = rustix::process::getuid().as_raw();
        let screenshots = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{uid}"));
        std::fs::create_dir_all(&screenshots).unwrap();
        // It reads from descriptor 3 and writes to 4.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"])
            .args(FLAGS)
            .arg(format!("--window-size={WIDTH},{HEIGHT}"))
            .arg(format!("--user-data-dir={}", profile.path().join("data").display()))
            .envs(["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"].map(|name| (name, profile.path())))
            .env_remove("DISPLAY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(profile.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let (input, messages) = (child.stdin.take(), child.stdout.take().unwrap());
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut messages = BufReader::new(messages);
            let mut message = Vec::new();
            while matches!(messages.read_until(0, &mut message), Ok(n) if n > 0) {
                message.pop();
                let read = serde_json::from_slice(&message).unwrap_or_default();
                message.clear();
                if sender.send(read).is_err() {
                    break;
                }
            }
        });
        let (page, requested) = (None, Vec::new());
        let mut browser = Self { child, input, output, page, calls: 0, requested, screenshots, profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"})).unwrap();
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach).unwrap();
        browser.page = Some(session["sessionId"].as_str().unwrap().to_owned());
        browser.call("Page.enable", json!({})).unwrap();
        browser.call("Network.enable", json!({})).unwrap();
        browser.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": KEEP_NOTICES})).unwrap();
        // Nothing is seen half faded in.
        let still = json!({"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]});
        browser.call("Emulation.setEmulatedMedia", still).unwrap();
        let size = json!({"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", size).unwrap();
        browser
    }

    /// One call and its result, or the error that came instead.
    fn call(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(page) = &self.page {
            message["sessionId"] = json!(page);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let sent = self.input.as_mut().unwrap().write_all(&bytes);
        let until = Instant::now() + SOON;
        loop {
            let mut answer = match self.output.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(answer) => answer,
                Err(end) => {
                    let why = match end {
                        RecvTimeoutError::Timeout => "does not answer",
                        RecvTimeoutError::Disconnected => "has ended (is Debian's package `chromium` installed?)",
                    };
                    let log = std::fs::read_to_string(self.profile.path().join("log")).unwrap_or_default();
                    panic!("the browser {why}: {method} {sent:?}\n{log}");
                }
            };
            if answer["id"] == self.calls {
                return match answer.get_mut("error") {
                    Some(error) => Err(error.take()),
                    None => Ok(answer["result"].take()),
                };
            }
            if answer["method"] == "Network.requestWillBeSent" {
                self.requested.push(answer["params"]["request"]["url"].as_str().unwrap().to_owned());
            }
        }
    }

    /// Goes to a page; returns when it and all it refers to are loaded.
    pub fn open(&mut self, url: &str) {
        let went = self.call("Page.navigate", json!({"url": url})).unwrap();
        assert!(went.get("errorText").is_none(), "{url}: {went}");
        self.wait_for("the page", "document.readyState === 'complete'");
    }

    /// The value of a JavaScript expression; null if it fails, as it does while a page makes room for the next.
    pub fn value(&mut self, expression: &str) -> Value {
        let evaluate = json!({"expression": expression, "returnByValue": true});
        match self.call("Runtime.evaluate", evaluate) {
            Ok(mut answer) if answer.get("exceptionDetails").is_none() => answer["result"]["value"].take(),
            _ => Value::Null,
        }
    }

    /// Waits until the expression is true, or anything but null, false, zero or nothing, and returns it.
    pub fn wait_for(&mut self, what: &str, expression: &str) -> Value {
        let until = Instant::now() + SOON;
        loop {
            let value = self.value(expression);
            if is_true(&value) {
                return value;
            }
            assert!(Instant::now() < until, "{what}: {expression} is {value} on\n{}", self.text());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// As [`wait_for`](Self::wait_for), on a page that does not renew itself.
    pub fn wait_for_at(&mut self, url: &str, what: &str, expression: &str) -> Value {
        let until = Instant::now() + SOON;
        loop {
            self.open(url);
            // What fills a table may be on its way.
            for _ in 0..20 {
                let value = self.value(expression);
                if is_true(&value) {
                    return value;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            assert!(Instant::now() < until, "{what}: not {expression} on\n{}", self.text());
        }
    }

    /// All that is to be read on the page.
    pub fn text(&mut self) -> String {
        self.value("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Clicks with the mouse on the middle of the first element that fits, once nothing else is in front of it.
    pub fn click(&mut self, selector: &str) {
        let find = format!(
            "(() => {{
                const found = document.querySelector({});
                if (!found || found.disabled) return null;
                found.scrollIntoView({{block: 'center', behavior: 'instant'}});
                const box = found.getBoundingClientRect();
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                const there = document.elementFromPoint(x, y);
                return there && found.contains(there) ? {{x, y}} : null;
            }})()",
            json!(selector)
        );
        let at = self.wait_for("something to click on", &find);
        let mut mouse = |kind: &str, buttons: u8| {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let event = json!({"type": kind, "x": at["x"], "y": at["y"], "button": button, "buttons": buttons, "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event).unwrap();
        };
        mouse("mouseMoved", 0);
        mouse("mousePressed", 1);
        mouse("mouseReleased", 0);
    }

    /// Types a text over what the field holds.
    pub fn fill(&mut self, selector: &str, text: &str) {
        self.click(selector);
        self.wait_for("the field", &format!("(document.querySelector({}).select(), true)", json!(selector)));
        self.call("Input.insertText", json!({"text": text})).unwrap();
        let holds = format!("document.querySelector({}).value === {}", json!(selector), json!(text));
        self.wait_for("the text in the field", &holds);
    }

    /// Keeps a picture of what is seen, and looks whether it is one.
    pub fn screenshot(&mut self, name: &str) {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"})).unwrap();
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let path = self.screenshots.join(format!("{name}.png"));
        std::fs::write(&path, &bytes).unwrap();
        let picture = png::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!((picture.width, picture.height), (WIDTH, HEIGHT), "{}", path.display());
        // Text is drawn in shades; a page of nothing but a few boxes has a handful.
        assert!(picture.colours > 64, "{} has {} colours", path.display(), picture.colours);
    }

    /// Every address that the pages asked for since the start.
    pub fn requested(&self) -> &[String] {
        &self.requested
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.input.take());
        let until = Instant::now() + Duration::from_secs(30);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Both fail only for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(value) => value.as_f64() != Some(0.0),
        Value::String(value) => !value.is_empty(),
        Value::Array(value) => !value.is_empty(),
        Value::Object(_) => true,
    }
}
