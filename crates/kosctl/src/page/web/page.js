// Asks a passkey for what opens a vault, and brings it to the command in the terminal. Nothing is kept here.

const at = (id) => document.getElementById(id);

// Bytes as the command writes them: base64url without padding.
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const say = (words, how = "") => {
  at("said").className = `said ${how}`;
  at("said").textContent = words;
};

let code = "";

const post = async (path, what) => {
  const body = JSON.stringify(what);
  let response;
  try {
    response = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body });
  } catch {
    throw new Error("The command in the terminal has ended. Begin again there.");
  }
  const told = await response.json();
  if (!response.ok) {
    const lines = [told.title, told.detail, told.fix].filter(Boolean).map((line) => line[0].toUpperCase() + line.slice(1));
    throw Object.assign(new Error(lines.join("\n")), { status: response.status });
  }
  return told;
};

// Seals the answer to the command that began: whoever has its port by now can do nothing with it. Each seal has a key of its own.
const seal = async (task, answer) => {
  const curve = { name: "ECDH", namedCurve: "P-256" };
  const theirs = bytes(task.key);
  const mine = await crypto.subtle.generateKey(curve, false, ["deriveBits"]);
  const own = new Uint8Array(await crypto.subtle.exportKey("raw", mine.publicKey));
  const peer = await crypto.subtle.importKey("raw", theirs, curve, false, []);
  const shared = await crypto.subtle.deriveBits({ name: "ECDH", public: peer }, mine.privateKey, 256);
  const root = await crypto.subtle.importKey("raw", shared, "HKDF", false, ["deriveKey"]);
  const words = (what) => [...new TextEncoder().encode(what)];
  const plain = code.replace(/[^A-Za-z0-9]/g, "").toUpperCase();
  const info = Uint8Array.from(
    [words("kos passkey page v1"), words(plain), ...task.challenges.map(bytes), theirs, own].flatMap((part) => [...part]),
  );
  const salt = new Uint8Array(0);
  const how = { name: "HKDF", hash: "SHA-256", salt, info };
  const key = await crypto.subtle.deriveKey(how, root, { name: "AES-GCM", length: 256 }, false, ["encrypt"]);
  const form = { name: "AES-GCM", iv: new Uint8Array(12), additionalData: info };
  const sealed = await crypto.subtle.encrypt(form, key, new TextEncoder().encode(JSON.stringify(answer)));
  return { key: text(own), sealed: text(sealed) };
};

// What a browser's refusal means to a person.
const meaning = (error, act) => {
  switch (error.name) {
    case "NotAllowedError":
      return "The authenticator said no, or the time was over.\n" +
        (act === "add"
          ? "It needs a PIN, a fingerprint or a face, since a stolen one must open nothing. Try again, or with another one."
          : "It needs a passkey of this vault, and your PIN, fingerprint or face. Try again, or with another one.");
    case "InvalidStateError":
      return "This authenticator has a passkey of this vault already.\nTry again with another one.";
    case "ConstraintError":
    case "NotSupportedError":
      return "This authenticator cannot make such a passkey.\nIt needs a PIN, a fingerprint or a face. Try again with another one.";
    default:
      return error.message;
  }
};

const use = async (task, challenge, passkeys) => {
  const evalByCredential = Object.fromEntries(passkeys.map(({ id, salt }) => [id, { first: bytes(salt) }]));
  const used = await navigator.credentials.get({
    publicKey: {
      challenge: bytes(challenge),
      rpId: task.relyingParty,
      allowCredentials: passkeys.map(({ id }) => ({ type: "public-key", id: bytes(id) })),
      userVerification: "required",
      timeout: 120_000,
      extensions: { prf: { evalByCredential } },
    },
  });
  const given = used.getClientExtensionResults().prf?.results?.first;
  return {
    credentialId: text(used.rawId),
    clientData: text(used.response.clientDataJSON),
    authenticatorData: text(used.response.authenticatorData),
    signature: text(used.response.signature),
    output: given ? text(given) : null,
  };
};

const make = async (task) => {
  const made = await navigator.credentials.create({
    publicKey: {
      challenge: bytes(task.challenges[0]),
      rp: { id: task.relyingParty, name: "kOS" },
      user: { id: bytes(task.user.id), name: task.user.name, displayName: task.user.name },
      pubKeyCredParams: [-8, -7, -257].map((alg) => ({ type: "public-key", alg })),
      authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
      excludeCredentials: task.passkeys.map(({ id }) => ({ type: "public-key", id: bytes(id) })),
      attestation: "none",
      timeout: 120_000,
      extensions: { prf: { eval: { first: bytes(task.salt) } } },
    },
  });
  const prf = made.getClientExtensionResults().prf;
  const key = made.response.getPublicKey();
  return {
    credentialId: text(made.rawId),
    clientData: text(made.response.clientDataJSON),
    authenticatorData: text(made.response.getAuthenticatorData()),
    publicKey: key ? text(key) : "",
    algorithm: made.response.getPublicKeyAlgorithm(),
    hasFunction: prf?.enabled === true || prf?.results?.first !== undefined,
    output: prf?.results?.first ? text(prf.results.first) : null,
  };
};

// Each step is one press of the button, since some browsers ask for one before every passkey.
const adding = (task) => {
  const answer = { made: null, uses: [] };
  const passkey = () => [{ id: answer.made.credentialId, salt: task.salt }];
  const again = (n) => async () => answer.uses.push(await use(task, task.challenges[n], passkey()));
  return {
    answer,
    steps: [
      ["Make a passkey", async () => { answer.made = await make(task); }],
      ["Use it once, to see that it works", again(1)],
      ["Use it again, to see that it gives the same", again(2)],
    ],
    // What it gave already need not be asked for once more; without the extension there is nothing to ask for.
    isEnough: () => answer.made !== null &&
      (!answer.made.hasFunction || answer.uses.length + (answer.made.output ? 1 : 0) > 1),
  };
};

const opening = (task) => {
  const answer = { used: null };
  return {
    answer,
    steps: [["Use your passkey", async () => { answer.used = await use(task, task.challenges[1], task.passkeys); }]],
    isEnough: () => answer.used !== null,
  };
};

// A passkey that opens nothing is of no use where it was made.
const forget = (task, made) =>
  made && PublicKeyCredential.signalUnknownCredential?.({ rpId: task.relyingParty, credentialId: made.credentialId })
    .catch(() => {});

const work = (task) => {
  const ceremony = task.act === "add" ? adding(task) : opening(task);
  at("title").textContent = task.title;
  document.title = task.title;
  at("about").textContent = task.about;
  const items = ceremony.steps.map(([name]) => Object.assign(document.createElement("li"), { textContent: name }));
  at("steps").replaceChildren(...(items.length > 1 ? items : []));
  at("work").hidden = false;
  let step = 0;
  const show = () => {
    items.forEach((item, n) => {
      item.classList.toggle("done", n < step);
      if (n === step) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    });
    at("act").textContent = ceremony.steps[step][0];
    at("act").disabled = false;
    at("act").focus();
  };
  at("act").addEventListener("click", async () => {
    at("act").disabled = true;
    say("Your browser asks for the passkey now.");
    try {
      await ceremony.steps[step][1]();
    } catch (error) {
      say(meaning(error, task.act), "bad");
      show();
      return;
    }
    if (!ceremony.isEnough()) {
      step += 1;
      say("");
      show();
      return;
    }
    at("work").hidden = true;
    try {
      await post("/end", await seal(task, ceremony.answer));
      say("The terminal has it and goes on there.\nYou can close this page.", "good");
    } catch (error) {
      forget(task, ceremony.answer.made);
      say(error.message, "bad");
    }
  });
  show();
};

// What is missing before anybody was asked for anything.
const lack = async () => {
  if (!window.isSecureContext || window.PublicKeyCredential === undefined) {
    return "This browser has no passkeys here. Take a current browser, and the address as the terminal shows it.";
  }
  const can = await PublicKeyCredential.getClientCapabilities?.().catch(() => null);
  if (can?.["extension:prf"] === false) {
    return "This browser lacks the PRF extension of WebAuthn, by which a passkey opens a vault. Take another browser.";
  }
  return null;
};

const begin = async () => {
  try {
    const task = await post("/begin", { code });
    at("enter").hidden = true;
    const missing = await lack();
    if (missing) {
      say(missing, "bad");
      return;
    }
    say("");
    work(task);
  } catch (error) {
    at("enter").hidden = error.status !== 403;
    say(error.message, "bad");
    at("code").select();
  }
};

at("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  code = at("code").value;
  begin();
});

// The part of an address behind # stays in the browser; from here on it does not even stand in the address.
code = decodeURIComponent(location.hash.slice(1));
history.replaceState(null, "", "/");
if (code) {
  begin();
} else {
  at("enter").hidden = false;
  at("code").focus();
}
