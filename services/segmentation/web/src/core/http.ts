/** Requests to the API: relative to the page's base, with the token, errors as sentences. */

/** An answer of the API that is an error, as its sentence for a person. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    readonly kind = "",
  ) {
    super(detail);
  }
}

let csrfToken: string | null = null;

/** Keep the token that requests must bring that change something. */
export function keepToken(token: string | null): void {
  csrfToken = token;
}

/** What must be sent with a request of a method, besides its content. */
export function tokenHeaders(method: string): Record<string, string> {
  const changes = !["GET", "HEAD"].includes(method.toUpperCase());
  return changes && csrfToken !== null ? { "X-CSRF-Token": csrfToken } : {};
}

/**
 * The whole address of a path of the API, below whatever prefix the page is.
 *
 * @param path Without a slash before it; a link of the API's, which begins with one, has
 *   the prefix already.
 */
export function address(path: string): string {
  return new URL(path, document.baseURI).href;
}

/** Send a request; resolves with a good answer only. */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  const method = init.method ?? "GET";
  const headers = { ...tokenHeaders(method), ...(init.headers as object) };
  let response: Response;
  try {
    response = await fetch(address(path), {
      ...init,
      headers,
      credentials: "same-origin",
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The service does not answer. Is it running?");
  }
  if (!response.ok) throw errorOf(response.status, await response.text());
  return response;
}

/** Fetch a JSON document. */
export async function fetchJson<T>(path: string, init: RequestInit = {}): Promise<T> {
  return (await send(path, init)).json() as Promise<T>;
}

/** Send a JSON document and return the answer's, if there is one. */
export async function sendJson<T>(
  method: string,
  path: string,
  body: unknown,
): Promise<T> {
  const response = await send(path, {
    method,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

/** Return an error answer as an error: a problem document's sentence, if it is one. */
export function errorOf(status: number, text: string): ApiError {
  try {
    const problem = JSON.parse(text) as {
      type?: string;
      title?: string;
      detail?: string;
      errors?: { detail?: string }[];
    };
    const details = (problem.errors ?? []).map((each) => each.detail).filter(Boolean);
    const said = problem.detail || problem.title;
    if (said) {
      const sentence = [said, ...details.filter((each) => each !== said)].join(" ");
      return new ApiError(status, sentenceCase(sentence), kindOf(problem.type));
    }
  } catch {
    // not JSON: a proxy answered
  }
  return new ApiError(status, `The service answered ${status} without saying why.`);
}

/** Return a message with a capital letter and a full stop. */
export function sentenceCase(message: string): string {
  const text = message.trim();
  const ended = /[.!?]$/.test(text) ? text : `${text}.`;
  return ended.charAt(0).toUpperCase() + ended.slice(1);
}

/** Return an error as a sentence to be shown. */
export function sentenceOf(error: unknown): string {
  if (error instanceof ApiError) return error.detail;
  return error instanceof Error ? sentenceCase(error.message) : "Something went wrong.";
}

function kindOf(type: string | undefined): string {
  return (type ?? "").split(":").pop() ?? "";
}
