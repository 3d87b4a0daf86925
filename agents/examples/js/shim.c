/* Carries an agent written in JavaScript: QuickJS, the igor ABI on one side and an object `agent` on the other. */
#include "igor.h"
#include "quickjs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char source[] = {
#embed "counter.js"
    , 0
};

static JSContext *js;
static JSValue agent;
static char *written;
static char body[64 * 1024];

_Noreturn static void fail(const char *what) {
    JSValue error = JS_GetException(js);
    const char *text = JS_ToCString(js, error);
    fprintf(stderr, "%s: %s\n", what, text ? text : "unknown");
    abort();
}

static JSValue good(JSValue value, const char *what) { return JS_IsException(value) ? (fail(what), value) : value; }

static JSValue do_next(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
    int32_t len = igor_message_next(body, sizeof body);
    if (len == IGOR_NONE) return JS_NULL;
    return len < 0 ? JS_ThrowInternalError(c, "message_next: %d", len) : JS_NewStringLen(c, body, (size_t)len);
}

static JSValue with_text(JSContext *c, JSValueConst value, int kind) {
    size_t len;
    const char *text = JS_ToCStringLen(c, &len, value);
    if (!text) return JS_EXCEPTION;
    int32_t code = 0;
    if (kind == 0) igor_log_emit(text, len);
    if (kind == 1) code = igor_message_reply(text, len);
    if (kind == 2) puts(text);
    JS_FreeCString(c, text);
    return code ? JS_ThrowInternalError(c, "message_reply: %d", code) : JS_UNDEFINED;
}

static JSValue do_text(JSContext *c, JSValueConst self, int argc, JSValueConst *argv, int kind) {
    return with_text(c, argv[0], kind);
}

static JSValue call(const char *name, int argc, JSValue *argv) {
    JSValue function = good(JS_GetPropertyStr(js, agent, name), name);
    JSValue result = good(JS_Call(js, function, agent, argc, argv), name);
    JS_FreeValue(js, function);
    for (JSContext *done; JS_ExecutePendingJob(JS_GetRuntime(js), &done) > 0;) {}
    return result;
}

void agent_init(void) {
    js = JS_NewContext(JS_NewRuntime());
    JSValue global = JS_GetGlobalObject(js), igor = JS_NewObject(js);
    JS_SetPropertyStr(js, igor, "next", JS_NewCFunction(js, do_next, "next", 0));
    JS_SetPropertyStr(js, igor, "log", JS_NewCFunctionMagic(js, do_text, "log", 1, JS_CFUNC_generic_magic, 0));
    JS_SetPropertyStr(js, igor, "reply", JS_NewCFunctionMagic(js, do_text, "reply", 1, JS_CFUNC_generic_magic, 1));
    JS_SetPropertyStr(js, global, "print", JS_NewCFunctionMagic(js, do_text, "print", 1, JS_CFUNC_generic_magic, 2));
    JS_SetPropertyStr(js, global, "igor", igor);
    JS_FreeValue(js, good(JS_Eval(js, source, sizeof source - 1, "counter.js", JS_EVAL_TYPE_GLOBAL), "eval"));
    agent = good(JS_GetPropertyStr(js, global, "agent"), "agent");
    JS_FreeValue(js, global);
}

int32_t agent_tick(void) {
    JSValue more = call("tick", 0, NULL);
    int32_t number = 0;
    JS_ToInt32(js, &number, more);
    JS_FreeValue(js, more);
    return number;
}

int32_t agent_checkpoint(void) {
    JSValue text = call("checkpoint", 0, NULL);
    size_t len;
    const char *bytes = JS_ToCStringLen(js, &len, text);
    if (!bytes) fail("checkpoint");
    free(written);
    if (!(written = malloc(len + 1))) abort();
    memcpy(written, bytes, len);
    JS_FreeCString(js, bytes);
    JS_FreeValue(js, text);
    return (int32_t)len;
}

const void *agent_checkpoint_ptr(void) { return written; }
void *agent_alloc(size_t len) { return malloc(len + 1); }

void agent_resume(const void *state, size_t len) {
    JSValue text = JS_NewStringLen(js, state, len);
    JS_FreeValue(js, call("resume", 1, &text));
    JS_FreeValue(js, text);
    free((void *)state);
}
