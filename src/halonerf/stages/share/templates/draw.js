// Draws Gaussians as the Python rasterisers do: projected to ellipses, blended from back to front (Kerbl et al. 2023).

const ROW = 512; // Gaussians in a row of the textures
const HEAD = "#version 300 es\nprecision highp float; precision highp int;\n";

const SPLAT_VERTEX = `${HEAD}
uniform highp sampler2D shapes;
uniform highp usampler2D orders;
uniform lowp sampler2D tints;
uniform mat3 turn;   // world to camera: x right, y down, z forward
uniform vec3 eye;
uniform vec2 size;   // px
uniform float focal; // px
uniform vec2 middle; // px
out vec2 away;       // from the centre, in standard deviations
out vec4 tint;

void main() {
  // Four corners of a square a Gaussian, without instances: engines in software draw those one by one.
  int place_in_order = gl_VertexID / 4;
  vec2 corner = vec2(gl_VertexID & 1, (gl_VertexID >> 1) & 1) * 2.0 - 1.0;
  int i = int(texelFetch(orders, ivec2(place_in_order % ${ROW}, place_in_order / ${ROW}), 0).r);
  ivec2 at = ivec2((i % ${ROW}) * 3, i / ${ROW});
  vec4 a = texelFetch(shapes, at, 0), b = texelFetch(shapes, at + ivec2(1, 0), 0);
  vec4 c = texelFetch(shapes, at + ivec2(2, 0), 0);
  tint = texelFetch(tints, ivec2(i % ${ROW}, i / ${ROW}), 0);
  tint.a *= a.w;
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0); // clipped away
  vec3 p = turn * (a.xyz - eye);
  if (p.z <= ${NEAR} || tint.a < 1.0 / 255.0) return;
  vec2 slope = p.xy / p.z;
  vec2 centre = focal * slope + middle;
  vec2 limit = 0.65 * size / focal;   // the projection is linearised not far outside the picture
  slope = clamp(slope, -limit - (middle - 0.5 * size) / focal, limit - (middle - 0.5 * size) / focal);
  mat3 spread = turn * mat3(b.x, b.y, b.z, b.y, b.w, c.x, b.z, c.x, c.y) * transpose(turn);
  float f = focal / p.z;
  vec3 across = vec3(f, 0.0, -f * slope.x), down = vec3(0.0, f, -f * slope.y);
  float xx = dot(across, spread * across) + 0.3, yy = dot(down, spread * down) + 0.3; // px^2: no thinner than a pixel
  float xy = dot(across, spread * down);
  float half_sum = 0.5 * (xx + yy), root = length(vec2(0.5 * (xx - yy), xy));
  float large = half_sum + root, small = max(half_sum - root, 0.1);
  vec2 axis = abs(xy) > 1e-6 ? normalize(vec2(xy, large - xx)) : (xx >= yy ? vec2(1, 0) : vec2(0, 1));
  float reach = sqrt(2.0 * log(255.0 * tint.a));  // where it stops less than an 8-bit picture shows
  away = corner * reach;
  vec2 place = centre + axis * away.x * sqrt(large) + vec2(-axis.y, axis.x) * away.y * sqrt(small);
  gl_Position = vec4(2.0 * place.x / size.x - 1.0, 1.0 - 2.0 * place.y / size.y, 0.0, 1.0);
}`;

const SPLAT_FRAGMENT = `${HEAD}
in vec2 away;
in vec4 tint;
out vec4 colour;
void main() {
  float alpha = min(tint.a * exp(-0.5 * dot(away, away)), 0.999);
  if (alpha < 1.0 / 255.0) discard;
  colour = vec4(tint.rgb * alpha, alpha);
}`;

const SKY_VERTEX = `${HEAD}
out vec2 place;
void main() {
  place = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0; // one triangle, larger than the picture
  gl_Position = vec4(place, 0.0, 1.0);
}`;

const SKY_FRAGMENT = `${HEAD}
uniform mat3 turn;
uniform vec2 size, middle;
uniform float focal;
uniform vec3 up, low, high, ground;
in vec2 place;
out vec4 colour;
void main() {
  vec2 pixel = vec2(0.5 + 0.5 * place.x, 0.5 - 0.5 * place.y) * size;
  vec3 sight = normalize(transpose(turn) * vec3((pixel - middle) / focal, 1.0));
  float sine = dot(sight, up);
  vec3 sky = mix(low, high, clamp(sine / 0.7, 0.0, 1.0));
  colour = vec4(mix(sky, ground, smoothstep(0.02, -0.12, sine)), 1.0);
}`;

// Everything that lives in the GPU's memory. Throws where there is no WebGL 2.
function openPicture(canvas, texels, count) {
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, powerPreference: "high-performance" });
  if (!gl) throw new Error("WebGL 2 is not there");
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
  let shown = 0;

  return {
    // indices: Uint32Array, those to draw, the farthest first.
    order(indices) {
      shown = indices.length;
      const whole = new Uint32Array(rows * ROW);
      whole.set(indices);
      gl.activeTexture(gl.TEXTURE2);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ROW, rows, gl.RED_INTEGER, gl.UNSIGNED_INT, whole);
    },
    // tints: Uint8Array [4 N], colour and how much of its opacity each keeps.
    recolour(tints) {
      const whole = new Uint8Array(rows * ROW * 4);
      whole.set(tints);
      gl.activeTexture(gl.TEXTURE1);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ROW, rows, gl.RGBA, gl.UNSIGNED_BYTE, whole);
    },
    // camera: turn (column by column), eye; lens: focal and middle in px of the canvas. air: low, high, ground.
    draw(camera, lens, air) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      for (const [used, more] of [[sky, { up: facts.up, ...air }], [splat, { eye: camera.eye }]]) {
        gl.useProgram(used.program);
        gl.uniformMatrix3fv(used.at("turn"), false, camera.turn);
        gl.uniform2f(used.at("size"), canvas.width, canvas.height);
        gl.uniform2fv(used.at("middle"), lens.middle);
        gl.uniform1f(used.at("focal"), lens.focal);
        for (const [name, value] of Object.entries(more)) gl.uniform3fv(used.at(name), value);
      }
      gl.useProgram(sky.program);
      gl.disable(gl.BLEND);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      gl.useProgram(splat.program);
      gl.uniform1i(splat.at("shapes"), 0);
      gl.uniform1i(splat.at("tints"), 1);
      gl.uniform1i(splat.at("orders"), 2);
      gl.enable(gl.BLEND);
      gl.drawElements(gl.TRIANGLES, 6 * shown, gl.UNSIGNED_INT, 0);
    },
    // Until all that was asked for is drawn.
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
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = gl.getAttachedShaders(made).map((shader) => gl.getShaderInfoLog(shader));
    throw new Error(`${gl.getProgramInfoLog(made)} ${logs.join(" ")}`);
  }
  const places = new Map();
  const at = (name) => places.get(name) ?? places.set(name, gl.getUniformLocation(made, name)).get(name);
  return { program: made, at };
}
