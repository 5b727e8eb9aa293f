import { afterEach, expect, test, vi } from "vitest";
import {
  address,
  errorOf,
  keepToken,
  sentenceCase,
  tokenHeaders,
} from "../src/core/http";

afterEach(() => vi.unstubAllGlobals());

test("an address is below the prefix once, also that of the API's own link", () => {
  vi.stubGlobal("document", { baseURI: "http://service/contouring/" });
  const whole = "http://service/contouring/v1/jobs/a";
  expect(address("v1/jobs/a")).toBe(whole);
  expect(address("/contouring/v1/jobs/a")).toBe(whole);
});

test("a problem document is shown as its sentence", () => {
  const text = JSON.stringify({
    type: "urn:hanseg:problem:bad-image",
    title: "Bad",
    detail: "ct: it holds no Hounsfield units",
  });
  const error = errorOf(422, text);
  expect(error.detail).toBe("Ct: it holds no Hounsfield units.");
  expect(error.kind).toBe("bad-image");
});

test("what is no problem document says its status", () => {
  expect(errorOf(502, "<html>").detail).toContain("502");
});

test("a sentence begins and ends as one", () => {
  expect(sentenceCase("the disk is full")).toBe("The disk is full.");
  expect(sentenceCase("Really?")).toBe("Really?");
});

test("the token goes with what changes something, and with nothing else", () => {
  keepToken("abc");
  expect(tokenHeaders("DELETE")).toEqual({ "X-CSRF-Token": "abc" });
  expect(tokenHeaders("get")).toEqual({});
  keepToken(null);
  expect(tokenHeaders("POST")).toEqual({});
});
