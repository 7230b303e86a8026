//! What LLVM makes code for, and the ways it is asked to.

use inkwell::OptimizationLevel;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::context::Context;
use inkwell::module::Module;
use inkwell::passes::PassBuilderOptions;
use inkwell::support::LLVMString;
use inkwell::targets::{
    CodeModel, FileType, InitializationConfig, RelocMode, Target as Registered, TargetMachine,
    TargetTriple,
};
use inkwell::values::FunctionValue;
use runtime::Level;

use crate::Error;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// What is left to do for code that is already in vectors and blocks: values out of memory, common values
/// and loop-invariant ones computed once, the rest away. Loops are neither unrolled nor vectorised.
const PASSES: &str = "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,\
    loop-mssa(loop-rotate,licm),gvn,instcombine<no-verify-fixpoint>,simplifycfg,adce)";

/// A kind of CPU, as LLVM makes code for it.
pub struct Target {
    level: Level,
    machine: TargetMachine,
    tune: Option<String>,
}

impl Target {
    /// The CPUs of a level, with instructions scheduled for any of them or, with `tune_for_host`, for this
    /// machine's; which instructions may occur is the same in both.
    ///
    /// # Errors
    ///
    /// [`Error::Llvm`] if LLVM was built without x86.
    pub fn new(level: Level, tune_for_host: bool) -> Result<Target, Error> {
        Registered::initialize_x86(&InitializationConfig::default());
        let triple = TargetTriple::create(TRIPLE);
        let target = Registered::from_triple(&triple).map_err(failed("finding its x86 target"))?;
        let machine = target
            .create_target_machine(
                &triple,
                level.name(),
                features(level),
                OptimizationLevel::Default,
                RelocMode::PIC,
                CodeModel::Small,
            )
            .ok_or_else(|| Error::Llvm {
                doing: "making code for a CPU level",
                message: format!("it does not know {level}"),
            })?;
        let tune = tune_for_host.then(|| {
            let name = TargetMachine::get_host_cpu_name();
            name.to_string_lossy().into_owned()
        });
        Ok(Target {
            level,
            machine,
            tune,
        })
    }

    /// The level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The width of this level's vectors in bits.
    pub fn vector_bits(&self) -> u32 {
        match self.level {
            Level::V3 => 256,
            Level::V4 => 512,
        }
    }

    /// An empty module for this target.
    pub fn module<'ctx>(&self, context: &'ctx Context, name: &str) -> Module<'ctx> {
        let module = context.create_module(name);
        module.set_triple(&self.machine.get_triple());
        module.set_data_layout(&self.machine.get_target_data().get_data_layout());
        module
    }

    /// Gives a function the attributes that every function with a body must have.
    pub fn mark(&self, function: FunctionValue<'_>) {
        let context = function.get_type().get_context();
        let bits = self.vector_bits().to_string();
        let mut texts = vec![
            ("target-cpu", self.level.name()),
            ("target-features", features(self.level)),
            // A vector type is used whole, whatever the CPU is thought to prefer.
            ("prefer-vector-width", &bits),
            ("min-legal-vector-width", &bits),
            // There is no library to call, so no loop may become a memcpy or a memset.
            ("no-builtins", ""),
        ];
        texts.extend(self.tune.as_deref().map(|cpu| ("tune-cpu", cpu)));
        for (key, value) in texts {
            let attribute = context.create_string_attribute(key, value);
            function.add_attribute(AttributeLoc::Function, attribute);
        }
        let nounwind = Attribute::get_named_enum_kind_id("nounwind");
        let nounwind = context.create_enum_attribute(nounwind, 0);
        function.add_attribute(AttributeLoc::Function, nounwind);
    }

    /// Verifies a module and improves its code, without a change to any number that it computes.
    ///
    /// # Errors
    ///
    /// [`Error::Llvm`] with what the verifier says.
    pub fn optimise(&self, module: &Module<'_>) -> Result<(), Error> {
        module.verify().map_err(failed("verifying a module"))?;
        module
            .run_passes(PASSES, &self.machine, PassBuilderOptions::create())
            .map_err(failed("optimising a module"))
    }

    /// The module as a relocatable ELF file.
    ///
    /// # Errors
    ///
    /// [`Error::Llvm`] with what the code generator says.
    pub fn object(&self, module: &Module<'_>) -> Result<Vec<u8>, Error> {
        self.write(module, FileType::Object)
    }

    /// The module as assembly text.
    ///
    /// # Errors
    ///
    /// [`Error::Llvm`] with what the code generator says.
    pub fn assembly(&self, module: &Module<'_>) -> Result<Vec<u8>, Error> {
        self.write(module, FileType::Assembly)
    }

    fn write(&self, module: &Module<'_>, kind: FileType) -> Result<Vec<u8>, Error> {
        let buffer = self
            .machine
            .write_to_memory_buffer(module, kind)
            .map_err(failed("making machine code"))?;
        Ok(buffer.as_slice().to_vec())
    }
}

/// The features that a level has beyond the CPU type of its name.
fn features(level: Level) -> &'static str {
    match level {
        Level::V3 => "",
        Level::V4 => "+avx512bf16,+avx512vnni",
    }
}

fn failed(doing: &'static str) -> impl FnOnce(LLVMString) -> Error {
    move |message| Error::Llvm {
        doing,
        message: message.to_string_lossy().trim_end().replace('\n', "; "),
    }
}
