// The gateway's own HTTP interface. The key lives here and in this tab's sessionStorage, nowhere else.

import { parse } from "./money.js";

const SLOT = "gateway-key";
const TIMEOUT_MS = 30_000;
let key = "";

export class ApiError extends Error {
  constructor(status, message, param) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

export function use(text) {
  key = text;
}

export function remembered() {
  return sessionStorage.getItem(SLOT) ?? "";
}

export function remember() {
  sessionStorage.setItem(SLOT, key);
}

export function forget() {
  key = "";
  sessionStorage.removeItem(SLOT);
}

// The parsed answer; ApiError for whatever is none, also for a network that fails.
export async function call(path, { method = "GET", body, query = {} } = {}) {
  const asked = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const search = new URLSearchParams(asked).toString();
  let answer, text;
  try {
    answer = await fetch(search ? `${path}?${search}` : path, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body ? { "content-type": "application/json" } : {}) },
      body: body && JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    text = await answer.text();
  } catch {
    throw new ApiError(0, "The gateway cannot be reached.");
  }
  const value = readable(text);
  if (!answer.ok) {
    const told = value?.error ?? {};
    throw new ApiError(answer.status, told.message ?? `The gateway answered ${answer.status}.`, told.param);
  }
  if (value === null && text) throw new ApiError(answer.status, "The gateway's answer cannot be read.");
  return value;
}

function readable(text) {
  try {
    return parse(text);
  } catch {
    return null;
  }
}
