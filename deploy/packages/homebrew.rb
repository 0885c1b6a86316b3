# frozen_string_literal: true

# Installs a formula without Homebrew: takes the archive of this machine from a directory instead of its URL, verifies
# its checksum, and runs the formula's `install` and `test`. It has only what the formula uses of Homebrew's
# language, as https://docs.brew.sh/Formula-Cookbook describes it.
#
# usage: ruby homebrew.rb FORMULA DIRECTORY PREFIX

require "digest"
require "fileutils"
require "pathname"
require "tmpdir"

FORMULA, DIRECTORY, PREFIX = ARGV.map { |path| Pathname(path).expand_path }
abort "usage: ruby homebrew.rb FORMULA DIRECTORY PREFIX" unless PREFIX

SYSTEM = RUBY_PLATFORM.include?("darwin") ? :macos : :linux
PROCESSOR = RUBY_PLATFORM.match?(/arm64|aarch64/) ? :arm : :intel

class Pathname
  # Installs files into this directory, some of them under another name.
  def install(*sources)
    mkpath
    sources.flatten.each do |source|
      (source.is_a?(Hash) ? source : { source => File.basename(source) }).each do |file, name|
        FileUtils.mv(file, self / name)
      end
    end
  end
end

class Formula
  class << self
    attr_reader :values, :tests

    %i[desc homepage version license url sha256].each do |name|
      define_method(name) do |value|
        @values ||= {}
        abort "homebrew: #{name} is set twice" if @values.key?(name)
        @values[name] = value
      end
    end

    { on_macos: SYSTEM == :macos, on_linux: SYSTEM == :linux,
      on_arm: PROCESSOR == :arm, on_intel: PROCESSOR == :intel }.each do |name, applies|
      define_method(name) { |&block| block.call if applies }
    end

    def test(&block)
      @tests = block
    end
  end

  # Below the prefix, as in the section "Variables for directory locations".
  {
    bin: "bin", man1: "share/man/man1", pkgshare: "share/countersign",
    bash_completion: "etc/bash_completion.d", fish_completion: "share/fish/vendor_completions.d",
    zsh_completion: "share/zsh/site-functions",
  }.each { |name, path| define_method(name) { PREFIX / path } }

  def version
    self.class.values[:version]
  end

  def shell_output(command)
    output = `#{command}`
    abort "homebrew: #{command}: #{$CHILD_STATUS}" unless $CHILD_STATUS.success?
    output
  end

  def assert_match(expected, actual)
    abort "homebrew: #{expected.inspect} is not in #{actual.inspect}" unless actual.match?(Regexp.escape(expected))
  end
end

require "English"
require FORMULA.to_s

values = Countersign.values
missing = %i[desc homepage version license url sha256] - values.keys
abort "homebrew: the formula has no #{missing.join(", ")}" unless missing.empty?
# What `brew audit` rejects in a description.
is_rejected = values[:desc].length > 80 || values[:desc].match?(/\A(an?|the) |\.\z|countersign/i)
abort "homebrew: desc: #{values[:desc]}" if is_rejected

archive = DIRECTORY / File.basename(values[:url])
digest = Digest::SHA256.file(archive).hexdigest
abort "homebrew: the checksum of #{archive} is #{digest}" if digest != values[:sha256]

Dir.mktmpdir do |directory|
  system("tar", "-xf", archive.to_s, "-C", directory, exception: true)
  # Homebrew enters the only directory of an archive.
  Dir.chdir(Dir.glob("#{directory}/*").first) { Countersign.new.install }
end
Countersign.new.instance_eval(&Countersign.tests)
puts PREFIX.glob("**/*").select(&:file?).map { |file| file.relative_path_from(PREFIX) }.sort
