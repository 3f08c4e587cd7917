// Draws Gaussians as the Python rasterisers do: projected to ellipses, blended from back to front (Kerbl et al. 2023).

import { NEAR } from "./sort.js";
import { facts } from "./store.js";

const ROW = 512; // Gaussians per row of the textures
const HEAD = "#version 300 es\nprecision highp float; precision highp int;\n";

const SPLAT_VERTEX = `${HEAD}
uniform highp sampler2D shapes;
uniform highp usampler2D orders;
uniform lowp sampler2D colours;
uniform mat3 rotation; // world to camera: x right, y down, z forward
uniform vec3 eye;
uniform vec2 size;   // px
uniform float focal; // px
uniform vec2 principal; // px
out vec2 offset;     // from the centre, in standard deviations
out vec4 splatColour;

void main() {
  // Four vertices per Gaussian instead of instancing: software renderers draw instances one by one.
  int rank = gl_VertexID / 4;
  vec2 corner = vec2(gl_VertexID & 1, (gl_VertexID >> 1) & 1) * 2.0 - 1.0;
  int i = int(texelFetch(orders, ivec2(rank % ${ROW}, rank / ${ROW}), 0).r);
  ivec2 at = ivec2((i % ${ROW}) * 3, i / ${ROW});
  vec4 a = texelFetch(shapes, at, 0), b = texelFetch(shapes, at + ivec2(1, 0), 0);
  vec4 c = texelFetch(shapes, at + ivec2(2, 0), 0);
  splatColour = texelFetch(colours, ivec2(i % ${ROW}, i / ${ROW}), 0);
  splatColour.a *= a.w;
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0); // clipped away
  vec3 p = rotation * (a.xyz - eye);
  if (p.z <= ${NEAR} || splatColour.a < 1.0 / 255.0) return;
  vec2 slope = p.xy / p.z;
  vec2 centre = focal * slope + principal;
  vec2 limit = 0.65 * size / focal;   // the projection is linearised inside or just outside the picture
  slope = clamp(slope, -limit - (principal - 0.5 * size) / focal, limit - (principal - 0.5 * size) / focal);
  mat3 covariance = rotation * mat3(b.x, b.y, b.z, b.y, b.w, c.x, b.z, c.x, c.y) * transpose(rotation);
  float f = focal / p.z;
  vec3 across = vec3(f, 0.0, -f * slope.x), down = vec3(0.0, f, -f * slope.y);
  float xx = dot(across, covariance * across) + 0.3, yy = dot(down, covariance * down) + 0.3; // px^2: at least a pixel wide
  float xy = dot(across, covariance * down);
  float half_sum = 0.5 * (xx + yy), root = length(vec2(0.5 * (xx - yy), xy));
  float large = half_sum + root, small = max(half_sum - root, 0.1);
  vec2 axis = abs(xy) > 1e-6 ? normalize(vec2(xy, large - xx)) : (xx >= yy ? vec2(1, 0) : vec2(0, 1));
  float reach = sqrt(2.0 * log(255.0 * splatColour.a));  // where its opacity falls below one step of 8 bits
  offset = corner * reach;
  vec2 pixel = centre + axis * offset.x * sqrt(large) + vec2(-axis.y, axis.x) * offset.y * sqrt(small);
  gl_Position = vec4(2.0 * pixel.x / size.x - 1.0, 1.0 - 2.0 * pixel.y / size.y, 0.0, 1.0);
}`;

const SPLAT_FRAGMENT = `${HEAD}
in vec2 offset;
in vec4 splatColour;
out vec4 colour;
void main() {
  float alpha = min(splatColour.a * exp(-0.5 * dot(offset, offset)), 0.999);
  if (alpha < 1.0 / 255.0) discard;
  colour = vec4(splatColour.rgb * alpha, alpha);
}`;

const SKY_VERTEX = `${HEAD}
out vec2 position;
void main() {
  position = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0; // one triangle that covers the picture
  gl_Position = vec4(position, 0.0, 1.0);
}`;

const SKY_FRAGMENT = `${HEAD}
uniform mat3 rotation;
uniform vec2 size, principal;
uniform float focal;
uniform vec3 up, low, high, ground;
in vec2 position;
out vec4 colour;
void main() {
  vec2 pixel = vec2(0.5 + 0.5 * position.x, 0.5 - 0.5 * position.y) * size;
  vec3 ray = normalize(transpose(rotation) * vec3((pixel - principal) / focal, 1.0));
  float sine = dot(ray, up); // of the elevation
  vec3 sky = mix(low, high, clamp(sine / 0.7, 0.0, 1.0)); // 0.7: HIGH in lights.py
  colour = vec4(mix(sky, ground, smoothstep(0.02, -0.12, sine)), 1.0);
}`;

// The renderer and its GPU memory. texels: see `readShapes`. Throws where there is no WebGL 2.
export function openRenderer(canvas, texels, count) {
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, powerPreference: "high-performance" });
  if (!gl) throw new Error("WebGL 2 is not available");
  const splat = program(gl, SPLAT_VERTEX, SPLAT_FRAGMENT), sky = program(gl, SKY_VERTEX, SKY_FRAGMENT);
  const rows = Math.max(1, Math.ceil(count / ROW));
  const padded = new Float32Array(rows * ROW * 12);
  padded.set(texels);
  texture(gl, 0);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, 3 * ROW, rows, 0, gl.RGBA, gl.FLOAT, padded);
  texture(gl, 1);
  gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, ROW, rows);
  texture(gl, 2);
  gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R32UI, ROW, rows);
  const squares = new Uint32Array(6 * count);
  for (let i = 0; i < count; i++) squares.set([0, 1, 2, 2, 1, 3].map((corner) => 4 * i + corner), 6 * i);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, squares, gl.STATIC_DRAW);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  let visible = 0;

  return {
    // indices: Uint32Array, of the Gaussians to draw, the farthest first.
    order(indices) {
      visible = indices.length;
      const padded = new Uint32Array(rows * ROW);
      padded.set(indices);
      gl.activeTexture(gl.TEXTURE2);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ROW, rows, gl.RED_INTEGER, gl.UNSIGNED_INT, padded);
    },
    // colours: Uint8Array [4 N], see `splatColours`.
    recolour(colours) {
      const padded = new Uint8Array(rows * ROW * 4);
      padded.set(colours);
      gl.activeTexture(gl.TEXTURE1);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ROW, rows, gl.RGBA, gl.UNSIGNED_BYTE, padded);
    },
    // camera: rotation (column by column), eye; intrinsics: focal and principal in px of the canvas;
    // background: low, high, ground.
    draw(camera, intrinsics, background) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      for (const [used, more] of [[sky, { up: facts.up, ...background }], [splat, { eye: camera.eye }]]) {
        gl.useProgram(used.program);
        gl.uniformMatrix3fv(used.at("rotation"), false, camera.rotation);
        gl.uniform2f(used.at("size"), canvas.width, canvas.height);
        gl.uniform2fv(used.at("principal"), intrinsics.principal);
        gl.uniform1f(used.at("focal"), intrinsics.focal);
        for (const [name, value] of Object.entries(more)) gl.uniform3fv(used.at(name), value);
      }
      gl.useProgram(sky.program);
      gl.disable(gl.BLEND);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      gl.useProgram(splat.program);
      gl.uniform1i(splat.at("shapes"), 0);
      gl.uniform1i(splat.at("colours"), 1);
      gl.uniform1i(splat.at("orders"), 2);
      gl.enable(gl.BLEND);
      gl.drawElements(gl.TRIANGLES, 6 * visible, gl.UNSIGNED_INT, 0);
    },
    // Block until all commands have finished.
    wait() {
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    },
  };
}

function texture(gl, unit) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  for (const name of ["TEXTURE_MIN_FILTER", "TEXTURE_MAG_FILTER"]) gl.texParameteri(gl.TEXTURE_2D, gl[name], gl.NEAREST);
}

function program(gl, vertex, fragment) {
  const linked = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(linked, shader);
  }
  gl.linkProgram(linked);
  if (!gl.getProgramParameter(linked, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = gl.getAttachedShaders(linked).map((shader) => gl.getShaderInfoLog(shader));
    throw new Error(`${gl.getProgramInfoLog(linked)} ${logs.join(" ")}`);
  }
  const locations = new Map();
  const at = (name) => locations.get(name) ?? locations.set(name, gl.getUniformLocation(linked, name)).get(name);
  return { program: linked, at };
}
