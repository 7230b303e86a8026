//! Gemma 2 as a graph, by primitives only.
//!
//! A step of R rows calls `embed`, each layer's function, and `head`. A layer takes the residual stream
//! as it was before the branch of the layer below was added, and that branch before its post-norm; it
//! ends at `down`. So the norms and the add at a layer's boundary stand inside the next function, where
//! they can be fused with what reads them.
//!
//! Symbols: `R` rows in the step, `K` keys from position 0 to the last one in the step, `N` rows whose
//! logits are wanted. Inputs: `%tokens`, `%positions` and `%slots`, i32[R]; `%wanted`, i32[N], indices
//! of rows. Outputs: `%logits`, f32[N, vocab], and with [`StepShape::hidden`] the residual stream
//! before each layer, f32[R, hidden], and the final norm's output, f32[N, hidden].
//!
//! States: each layer's keys and values, `[slots, capacity, kv_heads, head_dim]`, the key of position p
//! at p modulo the capacity. All the rows of a step are put before any is read.

use ir::{
    Call, DType, Dim, Expr, Function, FunctionBuilder, FunctionId, LocalId, Module, Place, State,
    StateId, Type, Violation, Weight, WeightId, WeightSource,
};

use crate::config::{Config, LayerKind};

/// What a step is built for.
#[derive(Clone, Debug, PartialEq)]
pub struct StepShape {
    /// Fewest and most rows in a step; where they are equal, `R` is that constant.
    pub rows: (usize, usize),
    /// Sequences whose state is kept.
    pub slots: usize,
    /// Positions that a sequence may have, at most the model's own context.
    pub context: usize,
    /// What keys and values are stored as: f32, or bf16 or f16 by a cast.
    pub kv_format: DType,
    /// Whether the residual stream is given out.
    pub hidden: bool,
}

/// State rows are rounded up to this, so that a key's place modulo 16 is its position modulo 16.
const KEY_ALIGNMENT: usize = 16;

impl StepShape {
    /// Positions whose keys a layer keeps: all of the context, or, where that is fewer, the window of
    /// the first row of a step and the rows that the step puts before reading; rounded up to 16.
    pub fn capacity(&self, config: &Config, kind: LayerKind) -> usize {
        let all = self.context.next_multiple_of(KEY_ALIGNMENT);
        match kind {
            LayerKind::Full => all,
            LayerKind::Sliding => {
                let needed = config.window.saturating_add(self.rows.1 - 1);
                all.min(needed.saturating_add(KEY_ALIGNMENT - 1) / KEY_ALIGNMENT * KEY_ALIGNMENT)
            }
        }
    }

    /// Type of a layer's keys, and of its values.
    fn cache_type(&self, config: &Config, kind: LayerKind) -> Type {
        let dims = [
            self.slots,
            self.capacity(config, kind),
            config.kv_heads,
            config.head_dim,
        ];
        Type::new(self.kv_format, dims)
    }

    /// Bytes of all layers' keys and values.
    pub fn cache_bytes(&self, config: &Config) -> usize {
        let layer = |kind: &LayerKind| {
            let (slots, capacity) = (self.slots, self.capacity(config, *kind));
            let row = self.kv_format.row_bytes(config.kv_heads * config.head_dim);
            2 * slots * capacity * row
        };
        config.layers.iter().map(layer).sum()
    }
}

/// Builds the module of a configuration whose weights have these dtypes, by tensor name.
///
/// # Errors
/// A constraint of the IR, such as a tensor too large to be counted.
pub fn gemma2(
    config: &Config,
    dtype_of: impl Fn(&str) -> DType,
    shape: &StepShape,
) -> Result<Module, Violation> {
    let mut module = Module {
        name: "gemma2".into(),
        ..Module::default()
    };
    let (fewest, most) = shape.rows;
    let rows = if fewest == most {
        Dim::from(most)
    } else {
        module.dims.declare("R", fewest as i64, most as i64)
    };
    let keys = module.dims.declare("K", 1, shape.context as i64);
    let wanted = module.dims.declare("N", 0, most as i64);
    if fewest != most {
        module.dims.known.push((wanted.clone(), rows.clone()));
    }
    for (name, dims) in config.tensors() {
        let ty = Type::new(dtype_of(&name), dims);
        module.weights.push(Weight {
            name,
            ty,
            source: WeightSource::Stored,
        });
    }
    let builder = Builder {
        config,
        shape,
        rows,
        keys,
        wanted,
        module,
    };
    builder.build()
}

struct Builder<'c> {
    config: &'c Config,
    shape: &'c StepShape,
    rows: Dim,
    keys: Dim,
    wanted: Dim,
    module: Module,
}

/// What sets one layer's function apart from another's.
struct LayerSpec {
    kind: LayerKind,
    /// The post-norm of the branch that the layer takes; the first layer takes none.
    previous_norm: Option<Type>,
    /// Types of the layer's own weights, in the order of [`Config::layer_tensors`], without the last,
    /// which belongs to the next function.
    weights: Vec<Type>,
}

impl Builder<'_> {
    fn build(mut self) -> Result<Module, Violation> {
        let rows = Type::new(DType::I32, [&self.rows]);
        let step = &mut self.module.step;
        let tokens = step.add_local("tokens", rows.clone());
        let positions = step.add_local("positions", rows.clone());
        let slots = step.add_local("slots", rows);
        let wanted = step.add_local("wanted", Type::new(DType::I32, [&self.wanted]));
        step.inputs = step.locals.len();

        let table = Place::Weight(WeightId(0));
        let embed = self.embed()?;
        let args = [tokens, positions].map(Place::Local).into();
        let embedded = self.call(embed, args, vec![table], &["x", "cos", "sin"]);
        let [mut residual, cos, sin] = embedded[..] else {
            panic!("embed gives x, cos and sin");
        };
        let mut outputs = Vec::new();
        let mut branch: Option<(LocalId, WeightId)> = None;
        for layer in 0..self.config.layers.len() {
            let kind = self.config.layers[layer];
            let first = 1 + layer * self.config.layer_tensors().len();
            let post_norm = WeightId(first + self.config.layer_tensors().len() - 1);
            let weights: Vec<WeightId> = (first..post_norm.0).map(WeightId).collect();
            let type_of = |id: &WeightId| self.module.weights[id.0].ty.clone();
            let function = self.layer(&LayerSpec {
                kind,
                previous_norm: branch.map(|(_, norm)| type_of(&norm)),
                weights: weights.iter().map(type_of).collect(),
            })?;
            let states = ["keys", "values"].map(|part| {
                self.module.states.push(State {
                    name: format!("{part}.{layer}"),
                    ty: self.shape.cache_type(self.config, kind),
                });
                Place::State(StateId(self.module.states.len() - 1))
            });
            let mut args = vec![Place::Local(residual)];
            let mut read: Vec<Place> = weights.into_iter().map(Place::Weight).collect();
            if let Some((branch, norm)) = branch {
                args.push(Place::Local(branch));
                read.insert(0, Place::Weight(norm));
            }
            args.extend([cos, sin, positions, slots].map(Place::Local));
            args.extend(states);
            let names = ["residual", "down", "x"].map(|n| format!("{n}.{layer}"));
            let made = if self.shape.hidden { 3 } else { 2 };
            let names: Vec<&str> = names[..made].iter().map(String::as_str).collect();
            let results = self.call(function, args, read, &names);
            residual = results[0];
            branch = Some((results[1], post_norm));
            outputs.extend(results.get(2));
        }
        let (branch, norm) = branch.expect("a configuration has at least one layer");
        let final_norm = WeightId(self.module.weights.len() - 1);
        let head = self.head([norm, final_norm])?;
        let args = [residual, branch, wanted].map(Place::Local).into();
        let weights = [norm, final_norm].map(Place::Weight);
        let names: &[&str] = match self.shape.hidden {
            true => &["logits", "normed"],
            false => &["logits"],
        };
        let results = self.call(head, args, [&weights[..], &[table]].concat(), names);
        outputs.insert(0, results[0]);
        outputs.extend(results.get(1));
        self.module.step.outputs = outputs;
        Ok(self.module)
    }

    /// Adds a call; its results are locals of these names, and the states among its arguments.
    fn call(
        &mut self,
        function: FunctionId,
        mut args: Vec<Place>,
        weights: Vec<Place>,
        names: &[&str],
    ) -> Vec<LocalId> {
        let types: Vec<Type> = self.module.functions[function.0]
            .result_types()
            .cloned()
            .collect();
        let step = &mut self.module.step;
        let locals: Vec<LocalId> = names
            .iter()
            .zip(types)
            .map(|(name, ty)| step.add_local(*name, ty))
            .collect();
        let results = locals.iter().copied().map(Place::Local);
        let states = args.iter().filter(|p| matches!(p, Place::State(_)));
        let results = results.chain(states.copied()).collect();
        args.extend(weights);
        step.calls.push(Call {
            results,
            function,
            args,
        });
        locals
    }

    /// Adds a function, unless an equal one is there already; a name that is taken gets a number.
    fn add(&mut self, mut function: Function) -> FunctionId {
        let name = function.name.clone();
        for n in 2.. {
            match self.module.function(&function.name) {
                None => break,
                Some(id) if self.module.functions[id.0] == function => return id,
                Some(_) => function.name = format!("{name}.{n}"),
            }
        }
        self.module.functions.push(function);
        FunctionId(self.module.functions.len() - 1)
    }

    /// Tokens to the residual stream, positions to RoPE's table: `x = E[token] * sqrt(hidden)`,
    /// `cos` and `sin` of `position / theta^(2i / head_dim)` for i in `0..head_dim / 2`.
    fn embed(&mut self) -> Result<FunctionId, Violation> {
        let c = self.config;
        let dims = self.module.dims.clone();
        let b = FunctionBuilder::new("embed", &dims);
        let rows = Type::new(DType::I32, [&self.rows]);
        let tokens = b.param("tokens", rows.clone());
        let positions = b.param("positions", rows);
        let table = b.param("table", self.module.weights[0].ty.clone());

        let x = widened(table.take(tokens, 0)) * (c.hidden as f64).sqrt();

        let pairs = c.head_dim / 2;
        let frequency = |i: usize| {
            c.rope_theta
                .powf(2.0 * i as f64 / c.head_dim as f64)
                .recip()
        };
        let frequencies: Vec<f64> = (0..pairs).map(frequency).collect();
        let shape = [self.rows.clone(), Dim::from(pairs)];
        let frequencies = b.constant(Type::new(DType::F32, [pairs]), &frequencies);
        let angle = positions.cast(DType::F32).broadcast(&shape, &[0])
            * frequencies.broadcast(&shape, &[1]);
        let function = b.finish(&[
            x.named("x"),
            angle.cos().named("cos"),
            angle.sin().named("sin"),
        ])?;
        Ok(self.add(function))
    }

    fn layer(&mut self, spec: &LayerSpec) -> Result<FunctionId, Violation> {
        let c = self.config;
        let dims = self.module.dims.clone();
        let name = match (&spec.previous_norm, spec.kind) {
            (None, LayerKind::Sliding) => "layer.first.sliding",
            (None, LayerKind::Full) => "layer.first.full",
            (Some(_), LayerKind::Sliding) => "layer.sliding",
            (Some(_), LayerKind::Full) => "layer.full",
        };
        let b = FunctionBuilder::new(name, &dims);
        let stream = Type::new(DType::F32, [&self.rows, &c.hidden.into()]);
        let table = Type::new(DType::F32, [&self.rows, &Dim::from(c.head_dim / 2)]);
        let index = Type::new(DType::I32, [&self.rows]);
        let cache = self.shape.cache_type(c, spec.kind);

        let residual = b.param("residual", stream.clone());
        let branch = spec
            .previous_norm
            .as_ref()
            .map(|_| b.param("branch", stream));
        let rope = Rope {
            cos: b.param("cos", table.clone()),
            sin: b.param("sin", table),
        };
        let positions = b.param("positions", index.clone());
        let slots = b.param("slots", index);
        let caches = [b.param("keys", cache.clone()), b.param("values", cache)];
        let previous_norm = spec.previous_norm.as_ref();
        let previous_norm = previous_norm.map(|ty| b.param("previous_post_norm", ty.clone()));
        let names = [
            "input_norm",
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "post_attention_norm",
            "pre_feedforward_norm",
            "gate_proj",
            "up_proj",
            "down_proj",
        ];
        let weights = names.iter().zip(&spec.weights);
        let weights: Vec<Expr> = weights.map(|(n, ty)| b.param(*n, ty.clone())).collect();
        let [
            input_norm,
            q_proj,
            k_proj,
            v_proj,
            o_proj,
            post_attention_norm,
            pre_feedforward_norm,
            gate_proj,
            up_proj,
            down_proj,
        ] = weights[..]
        else {
            panic!("a layer has {} weights of its own", names.len());
        };

        let x = match (branch, previous_norm) {
            (Some(branch), Some(norm)) => residual + self.rms_norm(branch, norm),
            _ => residual,
        }
        .named("x");
        let h = self.rms_norm(x, input_norm).named("normed");
        let q = self.heads(linear(h, q_proj), c.heads);
        let k = self.heads(linear(h, k_proj), c.kv_heads);
        let v = self.heads(linear(h, v_proj), c.kv_heads).named("v");
        let q = self.rotated(q, &rope).named("q");
        let k = self.rotated(k, &rope).named("k");
        let (attended, caches) = self.attention(&b, spec.kind, [q, k, v], caches, positions, slots);
        let o = linear(attended, o_proj).named("o");
        let x_mid = (x + self.rms_norm(o, post_attention_norm)).named("residual_out");

        let h = self.rms_norm(x_mid, pre_feedforward_norm);
        let gate = linear(h, gate_proj).named("gate");
        let up = linear(h, up_proj).named("up");
        let down = linear(gelu_tanh(gate) * up, down_proj).named("down");

        let mut results = vec![x_mid, down];
        if self.shape.hidden {
            results.push(x);
        }
        results.extend(caches);
        let function = b.finish(&results)?;
        Ok(self.add(function))
    }

    /// Logits of the wanted rows: `softcap(norm(x) · Eᵀ)`.
    fn head(&mut self, norms: [WeightId; 2]) -> Result<FunctionId, Violation> {
        let c = self.config;
        let dims = self.module.dims.clone();
        let b = FunctionBuilder::new("head", &dims);
        let stream = Type::new(DType::F32, [&self.rows, &c.hidden.into()]);
        let residual = b.param("residual", stream.clone());
        let branch = b.param("branch", stream);
        let wanted = b.param("wanted", Type::new(DType::I32, [&self.wanted]));
        let type_of = |id: usize| self.module.weights[id].ty.clone();
        let previous_norm = b.param("previous_post_norm", type_of(norms[0].0));
        let final_norm = b.param("final_norm", type_of(norms[1].0));
        let table = b.param("table", type_of(0));

        let branch = self.rms_norm(branch.take(wanted, 0), previous_norm);
        let x = residual.take(wanted, 0) + branch;
        let normed = self.rms_norm(x, final_norm).named("normed");
        let logits = softcapped(linear(normed, table), c.final_softcap).named("logits");
        let results = match self.shape.hidden {
            true => vec![logits, normed],
            false => vec![logits],
        };
        let function = b.finish(&results)?;
        Ok(self.add(function))
    }

    /// `x / sqrt(mean(x²) + eps) * (1 + w)` over the last axis of `x`, [rows, width].
    fn rms_norm<'b>(&self, x: Expr<'b>, w: Expr<'b>) -> Expr<'b> {
        let shape = x.ty().dims;
        let mean = (x * x).sum(&[1]) / self.config.hidden as f64;
        let scale = (mean + self.config.rms_eps).rsqrt();
        x * scale.broadcast(&shape, &[0]) * (widened(w) + 1.0).broadcast(&shape, &[1])
    }

    /// `[rows, heads * head_dim]` as `[rows, heads, head_dim]`.
    fn heads<'b>(&self, x: Expr<'b>, heads: usize) -> Expr<'b> {
        x.reshape(&[&self.rows, &heads.into(), &self.config.head_dim.into()])
    }

    /// RoPE on `[rows, heads, head_dim]`: element i turns with element i + head_dim / 2.
    fn rotated<'b>(&self, x: Expr<'b>, rope: &Rope<'b>) -> Expr<'b> {
        let (half, end) = (self.config.head_dim / 2, self.config.head_dim);
        let first = x.slice(2, &Dim::default(), &half.into());
        let second = x.slice(2, &half.into(), &end.into());
        let shape = first.ty().dims;
        let cos = rope.cos.broadcast(&shape, &[0, 2]);
        let sin = rope.sin.broadcast(&shape, &[0, 2]);
        (first * cos - second * sin).concat(second * cos + first * sin, 2)
    }

    /// Attention of q `[rows, heads, head_dim]` over all keys seen, after k and v `[rows, kv_heads,
    /// head_dim]` are put into the caches; also gives the new caches. Query head h reads kv head
    /// h / (heads / kv_heads), so heads are split in two axes and nothing is copied.
    fn attention<'b>(
        &self,
        b: &'b FunctionBuilder<'b>,
        kind: LayerKind,
        [q, k, v]: [Expr<'b>; 3],
        caches: [Expr<'b>; 2],
        positions: Expr<'b>,
        slots: Expr<'b>,
    ) -> (Expr<'b>, [Expr<'b>; 2]) {
        let c = self.config;
        let capacity = self.shape.capacity(c, kind);
        let ring = capacity < self.shape.context;
        let place = match ring {
            true => positions % positions.filled(capacity as f64),
            false => positions,
        };
        let iota = b.iota(&self.keys);
        let stored = |x: Expr<'b>| match self.shape.kv_format {
            DType::F32 => x,
            narrow => x.cast(narrow),
        };
        let [k_cache, v_cache] = caches;
        let k_cache = k_cache.put(slots, place, stored(k));
        let v_cache = v_cache.put(slots, place, stored(v));
        let seen_by_slot = |cache: Expr<'b>| {
            let keys = match ring {
                true => cache.take(iota % iota.filled(capacity as f64), 1),
                false => cache.slice(1, &Dim::default(), &self.keys),
            };
            widened(keys.take(slots, 0))
        };
        let keys = seen_by_slot(k_cache);
        let values = seen_by_slot(v_cache);

        let group = c.heads / c.kv_heads;
        let q = q.reshape(&[
            &self.rows,
            &c.kv_heads.into(),
            &group.into(),
            &c.head_dim.into(),
        ]);
        let scores = q.dot(keys, &[(0, 0), (1, 2)], &[(3, 3)]);
        let scores = scores * c.query_pre_attn_scalar.sqrt().recip();
        let scores = softcapped(scores, c.attn_softcap).named("scores");

        let mask_shape = [self.rows.clone(), self.keys.clone()];
        let i = positions.broadcast(&mask_shape, &[0]);
        let j = iota.broadcast(&mask_shape, &[1]);
        let causal = j.le(i);
        let seen = match kind {
            LayerKind::Full => causal,
            LayerKind::Sliding => {
                let distance = i - j;
                // A window longer than any context would not fit an i32.
                let window = c.window.min(self.shape.context);
                causal.and(distance.lt(distance.filled(window as f64)))
            }
        };
        let shape = scores.ty().dims;
        let seen = seen.broadcast(&shape, &[0, 3]);
        let scores = seen.select(scores, scores.filled(f64::NEG_INFINITY));

        let max = scores.max(&[3]).broadcast(&shape, &[0, 1, 2]);
        let weights = (scores - max).exp();
        let total = weights.sum(&[3]);
        let attended = weights.dot(values, &[(0, 0), (1, 2)], &[(3, 1)]);
        let attended = attended / total.broadcast(&attended.ty().dims, &[0, 1, 2]);
        let attended = attended.reshape(&[&self.rows, &Dim::from(c.heads * c.head_dim)]);
        (attended.named("attended"), [k_cache, v_cache])
    }
}

/// RoPE's table for the rows of a step, f32[rows, head_dim / 2].
struct Rope<'b> {
    cos: Expr<'b>,
    sin: Expr<'b>,
}

/// The value as f32.
fn widened(x: Expr) -> Expr {
    match x.ty().dtype {
        DType::F32 => x,
        dtype if dtype.is_block() => x.dequant(),
        _ => x.cast(DType::F32),
    }
}

/// `x · wᵀ` for x [rows, in] and w [out, in].
fn linear<'b>(x: Expr<'b>, w: Expr<'b>) -> Expr<'b> {
    x.dot(widened(w), &[], &[(1, 1)])
}

/// `tanh(x / cap) * cap`, where there is a cap.
fn softcapped(x: Expr, cap: Option<f64>) -> Expr {
    cap.map_or(x, |cap| (x / cap).tanh() * cap)
}

/// `0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))`.
fn gelu_tanh(x: Expr) -> Expr {
    let inner = (x + x * x * x * 0.044715) * std::f64::consts::FRAC_2_PI.sqrt();
    x * 0.5 * (inner.tanh() + 1.0)
}
